from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file

from leaf_seg.networks import LatentSegmenter
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.published_segmenter import leaf_model, sdseg_model
from tests.weights.conftest import LEAF_SCHEDULER
from tests.weights.published_layouts import ldm_unet_shapes, sdseg_constants, sdseg_shapes
from tests.weights.published_rule import assert_record, rule_input, rule_state

pytestmark = pytest.mark.usefixtures("recorded_sinusoid")

PRECISIONS = [pytest.param(torch.float64, 1e-11, id="fp64"), pytest.param(torch.float32, 2e-5, id="fp32")]


@pytest.fixture(scope="module")
def leaf_folder(make_leaf_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_leaf_folder(tmp_path_factory.mktemp("leaf"))


@pytest.fixture(scope="module")
def sdseg_source() -> dict[str, torch.Tensor]:
    return rule_state(sdseg_shapes(32, 32)) | sdseg_constants(0.2)


@torch.no_grad()
def steps_of(segmenter: LatentSegmenter, side: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """What the model computes on the rule's image and noise, step by step, and as a whole."""
    segmenter = segmenter.to(dtype)
    image = rule_input("input:image", (1, 3, side, side)).to(dtype)
    noise = rule_input("input:noise", (1, 4, side // 8, side // 8)).to(dtype)
    decoded: list[torch.Tensor] = []
    aligned: list[torch.Tensor] = []
    hooks = [
        segmenter.unet.down_blocks[0].downsamplers[0].register_forward_hook(lambda m, i, o: aligned.append(o)),
    ]
    decode = segmenter.codec.decode
    segmenter.codec.decode = lambda images: decoded.append(images) or decode(images)  # type: ignore[method-assign, func-returns-value]
    try:
        image_latent = segmenter.encode_image(image)
        timesteps = torch.tensor([999])
        output = segmenter.denoise(image_latent, noise, timesteps)
        clean = segmenter.schedule.clean_latent(output, noise, timesteps)
        mask = segmenter(image, noise=noise)[:, 1:]
    finally:
        segmenter.codec.decode = decode  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()
    return {
        "image latent": image_latent,
        "aligned": aligned[0],
        "output": output,
        "clean": clean,
        "decoded": decoded[0],
        "mask": mask,
    }


LEAF_NAMES = {
    "image latent (mode x 0.18215)": "image latent",
    "input_blocks.3": "aligned",
    "U-Net output": "output",
    "decoded before clamp": "decoded",
    "mask mean over 3 channels": "mask",
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_leaf_segments_as_the_published_pipeline(
    leaf_folder: Path, dtype: torch.dtype, tolerance: float, records: dict[str, Any]
) -> None:
    model = leaf_model(leaf_folder, (128, 128))
    found = steps_of(model.segmenter, 128, dtype)
    for name, key in LEAF_NAMES.items():
        assert_record(found[key], records["leaf_small"][name], tolerance)
    if dtype is torch.float64:
        assert (found["mask"] > 0.5).double().mean().item() == 0.455810546875


@pytest.mark.nightly
def test_full_leaf_segments_as_the_published_pipeline(
    make_leaf_folder: Callable[..., Path], tmp_path: Path, records: dict[str, Any]
) -> None:
    segmenter = leaf_model(make_leaf_folder(tmp_path, 192, 128), (256, 256)).segmenter
    found = steps_of(segmenter, 256, torch.float64)
    for name, key in LEAF_NAMES.items():
        assert_record(found[key], records["leaf_full"][name], 1e-11)


@pytest.mark.slow
def test_leaf_without_clipping(make_leaf_folder: Callable[..., Path], tmp_path: Path, records: dict[str, Any]) -> None:
    segmenter = leaf_model(make_leaf_folder(tmp_path, clip_sample=False), (128, 128)).segmenter
    found = steps_of(segmenter, 128, torch.float64)
    assert_record(found["decoded"], records["leaf_small_no_clip"]["decoded before clamp"], 1e-11)
    assert_record(found["mask"], records["leaf_small_no_clip"]["mask mean over 3 channels"], 1e-11)
    assert (found["mask"] > 0.5).double().mean().item() == 0.46527099609375


@pytest.mark.slow
# In eps, divided by alpha = 0.014, the latent is some hundreds: 1e-9 is the last of the 12 digits recorded. diffusers
# takes fp32 square roots of its own, which this processor may round otherwise than those of the schedule.
@pytest.mark.parametrize(
    ("prediction_type", "tolerance", "rounding"),
    [("sample", 1e-11, 1e-11), ("v_prediction", 1e-11, 3e-7), ("epsilon", 1e-9, 3e-5)],
)
def test_leaf_in_each_parameterisation(
    make_leaf_folder: Callable[..., Path],
    tmp_path: Path,
    prediction_type: str,
    tolerance: float,
    rounding: float,
    records: dict[str, Any],
) -> None:
    record = records["leaf_small_latent_after_step"]
    folder = make_leaf_folder(tmp_path, prediction_type=prediction_type)
    segmenter = leaf_model(folder, (128, 128)).segmenter
    found = steps_of(segmenter, 128, torch.float64)
    clip = segmenter.schedule.clip_range
    assert clip == 1.0
    for clean, clips in ((found["clean"], False), (found["clean"].clamp(-clip, clip), True)):
        assert_record(clean, record[f"prediction_type={prediction_type}, clip_sample={clips}"], tolerance)
        scheduler = DDIMScheduler.from_config(LEAF_SCHEDULER, prediction_type=prediction_type, clip_sample=clips)
        scheduler.set_timesteps(1)
        noise = rule_input("input:noise", (1, 4, 16, 16)).double()
        step = scheduler.step(found["output"], 999, noise).prev_sample
        torch.testing.assert_close(clean, step, rtol=0, atol=rounding)


def test_leaf_gives_its_averaged_unet_too(make_leaf_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_leaf_folder(tmp_path)
    averaged = {name: tensor + 1 for name, tensor in load_file(folder / "unet" / DIFFUSERS_WEIGHTS_NAME).items()}
    with pytest.raises(InputError, match="lacks unet_ema/"):
        leaf_model(folder, (128, 128), ema=True)
    shutil.copytree(folder / "unet", folder / "unet_ema")
    save_file(averaged, folder / "unet_ema" / DIFFUSERS_WEIGHTS_NAME)
    plain, ema = (leaf_model(folder, (128, 128), choice).segmenter.unet for choice in (False, True))
    assert torch.equal(ema.conv_in.weight, plain.conv_in.weight + 1)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("unet/config.json", {"num_heads": 0}, "num_heads 0; expected 8"),
        ("unet/config.json", {}, "num_heads None; expected 8"),
        ("unet/config.json", [1], "holds a list; expected a JSON object"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "flow"},
            "prediction_type 'flow'.*expected one of sample",
        ),
        ("scheduler/scheduler_config.json", LEAF_SCHEDULER | {"thresholding": True}, "thresholding True; expected"),
    ],
)
def test_configurations_of_leaf_that_do_not_fit(
    make_leaf_folder: Callable[..., Path], tmp_path: Path, file: str, content: Any, message: str
) -> None:
    folder = make_leaf_folder(tmp_path)
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        leaf_model(folder, (128, 128))


def test_leaf_before_its_training(make_leaf_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_leaf_folder(tmp_path)
    save_file(rule_state(ldm_unet_shapes(32, in_channels=4)), folder / "unet" / DIFFUSERS_WEIGHTS_NAME)
    with pytest.raises(InputError, match="has 4 input channels; expected 8"):
        leaf_model(folder, (128, 128))


def test_leaf_brings_its_autoencoder(leaf_folder: Path) -> None:
    model = leaf_model(leaf_folder, (128, 128))
    whole = model.autoencoder.state_dict()
    for name, tensor in model.segmenter.mask_decoder.state_dict().items():
        assert torch.equal(tensor, whole[name])
    own = model.segmenter.image_encoder.state_dict()
    assert not torch.equal(own["encoder.conv_in.weight"], whole["encoder.conv_in.weight"])  # trained on by LEAF


@pytest.mark.parametrize("name", ["vae", "scheduler"])
def test_a_training_folder_of_leaf_says_what_it_lacks(
    make_leaf_folder: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    folder = make_leaf_folder(tmp_path)
    (folder / name).rename(tmp_path.with_name(f"{tmp_path.name}_{name}"))
    with pytest.raises(InputError, match=f"lacks {name}/.*no vae and no scheduler"):
        leaf_model(folder, (128, 128))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_sdseg_segments_as_the_published_one(
    sdseg_source: dict[str, torch.Tensor], dtype: torch.dtype, tolerance: float, records: dict[str, Any]
) -> None:
    record = records["sdseg_small"]
    segmenter = sdseg_model(sdseg_source, (128, 128)).segmenter
    found = steps_of(segmenter, 128, dtype)
    scale = segmenter.mask_decoder.config["autoencoder"]["scaling_factor"]
    assert scale == pytest.approx(0.2)
    assert_record(found["image latent"], record["c"], tolerance)
    assert_record(found["output"], record["eps"], tolerance)
    assert_record(found["clean"], record["z0"], 1e-9 if dtype is torch.float64 else 1e-3)
    assert_record(found["decoded"], record["decoded"], tolerance)
    assert_record(found["mask"], record["mask_mean"], tolerance)


def test_sdseg_gives_its_plain_weights_too(sdseg_source: dict[str, torch.Tensor]) -> None:
    averaged, plain = (sdseg_model(sdseg_source, (128, 128), ema).segmenter.unet for ema in (True, False))
    key = "model.diffusion_model.input_blocks.0.0.weight"
    assert torch.equal(plain.conv_in.weight, sdseg_source[key])
    assert torch.equal(averaged.conv_in.weight, sdseg_source["model_ema.diffusion_modelinput_blocks00weight"])


def test_sdseg_is_read_strictly(sdseg_source: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"\(1: something.else\)"):
        sdseg_model(sdseg_source | {"something.else": torch.zeros(1)}, (128, 128))
    for key in ("cond_stage_model.out.bias", "scale_factor", "betas"):
        with pytest.raises(InputError, match=f"missing: {key}"):
            sdseg_model({name: value for name, value in sdseg_source.items() if name != key}, (128, 128))
    lacking = {k: v for k, v in sdseg_source.items() if k != "model_ema.diffusion_modelout2bias"}
    with pytest.raises(InputError, match=r"1 missing .*out2bias.*--weights plain"):
        sdseg_model(lacking, (128, 128))
    for value in (float("nan"), 0.0):
        with pytest.raises(InputError, match="scale_factor of the checkpoint is"):
            sdseg_model(sdseg_source | {"scale_factor": torch.tensor(value)}, (128, 128))
    quant_conv = {"cond_stage_model.quant_conv.weight": torch.zeros(8, 8, 1, 1)}
    with pytest.raises(InputError, match=r"\(1: cond_stage_model.quant_conv"):
        sdseg_model(sdseg_source | quant_conv, (128, 128))
    with pytest.raises(InputError, match="not linear in their square root"):
        sdseg_model(sdseg_source | {"betas": torch.linspace(0.0015, 0.0155, 1000)}, (128, 128))
