"""``python -m leaf_seg convert``, as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import save_file

import leaf_seg
from leaf_seg.__main__ import main
from leaf_seg.distillation import load_teacher
from leaf_seg.networks import load_autoencoder
from leaf_seg.weights.ldm_autoencoder import ldm_autoencoder
from leaf_seg.weights.published_segmenter import leaf_model
from tests.weights.dinov2_layout import dinov2_layout
from tests.weights.published_layouts import (
    ldm_autoencoder_shapes,
    ldm_unet_shapes,
    sdseg_constants,
    sdseg_shapes,
)
from tests.weights.published_rule import rule_input, rule_state

State = dict[str, torch.Tensor]


def convert(source: Path | str, folder: Path, *arguments: object) -> int:
    return main(["convert", str(source), "--to", str(folder), *map(str, arguments)])


@pytest.fixture(scope="module")
def kl_f8() -> State:
    """With what the published file has besides the network."""
    return rule_state(ldm_autoencoder_shapes(32)) | {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.ones(1)}


@pytest.fixture(scope="module")
def lsun() -> State:
    """The layout of LDM's whole lsun_churches256 checkpoint, of which only the U-Net is used."""
    unet = ldm_unet_shapes(32, in_channels=4)
    shapes = {f"model.diffusion_model.{name}": shape for name, shape in unet.items()}
    shapes |= {f"model_ema.diffusion_model{name.replace('.', '')}": shape for name, shape in unet.items()}
    return rule_state(shapes) | sdseg_constants(0.2) | {"first_stage_model.encoder.conv_in.bias": torch.zeros(32)}


@pytest.fixture(scope="module")
def sdseg() -> State:
    return rule_state(sdseg_shapes(32, 32)) | sdseg_constants(0.2)


def test_kl_f8(kl_f8: State, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    torch.save({"state_dict": kl_f8, "epoch": 12}, tmp_path / "model.ckpt")
    assert convert(tmp_path / "model.ckpt", tmp_path / "kl-f8") == 0
    assert "the autoencoder of LDM (kl-f8), 5 " in caplog.text
    assert f"--autoencoder_dir {tmp_path / 'kl-f8'}" in caplog.text
    modes = {file.name: file.stat().st_mode for file in (tmp_path / "kl-f8").iterdir()}
    assert modes["config.json"] == modes["diffusion_pytorch_model.safetensors"]  # others may read the weights, too
    autoencoder = load_autoencoder(tmp_path / "kl-f8")
    assert autoencoder.config["scaling_factor"] == 0.18215
    expected = ldm_autoencoder(kl_f8, ignored=("loss.", "model_ema."))
    image = rule_input("input:image", (1, 3, 64, 64))
    with torch.no_grad():
        assert torch.equal(autoencoder(image).sample, expected(image).sample)


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ([], "model.diffusion_model.out.2.weight"),
        (["--weights", "plain"], "model.diffusion_model.out.2.weight"),
        (["--weights", "ema"], "model_ema.diffusion_modelout2weight"),
    ],
)
def test_unet_of_ldm(choice: list[str], key: str, lsun: State, tmp_path: Path) -> None:
    from leaf_seg.weights.unet_folder import load_unet

    torch.save({"state_dict": lsun}, tmp_path / "model.ckpt")
    assert convert(tmp_path / "model.ckpt", tmp_path / "unet", *choice) == 0
    unet = load_unet(json.loads((tmp_path / "unet" / "config.json").read_text()), tmp_path / "unet")
    assert torch.equal(unet.conv_out.weight, lsun[key])


def test_leaf(make_leaf_folder: Callable[..., Path], tmp_path: Path) -> None:
    source = make_leaf_folder(tmp_path / "source")
    assert convert(source, tmp_path / "leaf", "--image-size", 128, 128, "--class-name", "polyp") == 0
    segmenter = leaf_seg.load(tmp_path / "leaf", device="cpu")
    assert segmenter.settings.class_names == ("background", "polyp")
    image = rule_input("input:image", (1, 3, 128, 128))
    with torch.no_grad():
        expected = leaf_model(source, (128, 128)).segmenter(image)
        torch.testing.assert_close(segmenter.network(image), expected, rtol=0, atol=1e-5)
    whole = load_autoencoder(tmp_path / "leaf" / "autoencoder")
    assert isinstance(whole, AutoencoderKL)
    decoder = segmenter.network.state_dict()["mask_decoder.decoder.conv_in.weight"]
    assert torch.equal(whole.decoder.conv_in.weight, decoder)
    result = segmenter(torch.rand(100, 90, 3).numpy())  # a picture of any size
    assert result.label.shape == (100, 90)


def test_sdseg(sdseg: State, tmp_path: Path) -> None:
    torch.save({"state_dict": sdseg}, tmp_path / "sdseg.ckpt")
    assert convert(tmp_path / "sdseg.ckpt", tmp_path / "model", "--image-size", 128, 128) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    network = config["network"]
    assert network["diffusion"]["parameterization"] == "eps"
    assert not network["diffusion"]["image_latent_first"]
    assert not network["image_encoder"]["scaled"]
    assert network["diffusion"]["scheduler"]["beta_schedule"] == "scaled_linear"
    assert network["mask_decoder"]["autoencoder"]["scaling_factor"] == pytest.approx(0.2)
    assert "averaged" in config["training"]["converted_from"]
    assert leaf_seg.load(tmp_path / "model", device="cpu").network.num_classes == 2


def test_taesd_in_its_author_s_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder = AutoencoderTiny()
    for part, shift in (("encoder", 0), ("decoder", 1)):
        state = getattr(autoencoder, part).state_dict()
        split = {name: name.removeprefix("layers.").partition(".") for name in state}
        theirs = {f"{int(index) + shift}.{rest}": state[name].bfloat16() for name, (index, _, rest) in split.items()}
        save_file(theirs, tmp_path / f"taesd_{part}.safetensors")
    assert convert(tmp_path, tmp_path / "converted") == 0
    found = load_autoencoder(tmp_path / "converted")
    assert isinstance(found, AutoencoderTiny)
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        rounded = autoencoder.bfloat16().float()  # as it is stored
        assert torch.equal(found(image).sample, rounded(image).sample)


def test_dinov2(tmp_path: Path) -> None:
    torch.save(rule_state(dinov2_layout(64, 1, num_register_tokens=4)), tmp_path / "dinov2_pretrain.pth")
    assert convert(tmp_path / "dinov2_pretrain.pth", tmp_path / "dinov2") == 0
    image = torch.rand(1, 3, 50, 40)
    folder, file = load_teacher(tmp_path / "dinov2"), load_teacher(tmp_path / "dinov2_pretrain.pth")
    assert torch.equal(folder(image), file(image))
    assert torch.equal(folder.mean, file.mean)


def test_an_autoencoder_in_diffusers_format(make_autoencoder: Callable[..., AutoencoderKL], tmp_path: Path) -> None:
    autoencoder = make_autoencoder()
    autoencoder.save_pretrained(tmp_path / "pipeline" / "vae")
    for source, target in ((tmp_path / "pipeline", "a"), (tmp_path / "pipeline" / "vae", "b")):
        assert convert(source, tmp_path / target) == 0
        found = load_autoencoder(tmp_path / target).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in autoencoder.state_dict().items())


@pytest.mark.parametrize("folder", ["", "vae"])
def test_a_name_found_in_the_hub_s_cache(
    folder: str, make_autoencoder: Callable[..., AutoencoderKL], hub_cache: Callable[[str], Path], tmp_path: Path
) -> None:
    snapshot = hub_cache("someone/some-vae")
    make_autoencoder().save_pretrained(snapshot / folder)
    (snapshot / "unet").mkdir()  # as in a whole pipeline: no folder of LEAF
    (snapshot / "unet" / "config.json").write_text("{}")
    assert convert("someone/some-vae", tmp_path / "vae") == 0
    assert isinstance(load_autoencoder(tmp_path / "vae"), AutoencoderKL)
    assert "_name_or_path" not in json.loads((tmp_path / "vae" / "config.json").read_text())


def test_leaf_by_its_name(
    make_leaf_folder: Callable[..., Path], hub_cache: Callable[[str], Path], tmp_path: Path
) -> None:
    snapshot = hub_cache("someone/LEAF")
    snapshot.rmdir()
    make_leaf_folder(snapshot)
    assert convert("someone/LEAF", tmp_path / "leaf", "--image-size", 128, 128) == 0
    assert leaf_seg.load(tmp_path / "leaf", device="cpu").settings.class_names == ("background", "foreground")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Factory of the folder that the Hugging Face cache has of a repository."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def make(name: str) -> Path:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        return snapshot

    return make


def _truncated(folder: Path) -> Path:
    torch.save({"state_dict": rule_state(ldm_autoencoder_shapes(32))}, folder / "cut.ckpt")
    content = (folder / "cut.ckpt").read_bytes()
    (folder / "cut.ckpt").write_bytes(content[: len(content) // 2])
    return folder / "cut.ckpt"


def _truncated_safetensors(folder: Path) -> Path:
    save_file(rule_state(ldm_autoencoder_shapes(32)), folder / "cut.safetensors")
    content = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return folder / "cut.safetensors"


def _payload(folder: Path) -> Path:
    torch.save({"state_dict": rule_state(ldm_autoencoder_shapes(32)), "x": _Payload(folder / "ran")}, folder / "x.ckpt")
    return folder / "x.ckpt"


class _Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def _unknown(folder: Path) -> Path:
    save_file({"some.weight": torch.zeros(2)}, folder / "unknown.safetensors")
    return folder / "unknown.safetensors"


def _incomplete(folder: Path) -> Path:
    source = rule_state(ldm_autoencoder_shapes(32))
    del source["quant_conv.bias"]
    save_file(source, folder / "incomplete.safetensors")
    return folder / "incomplete.safetensors"


def _unet_of_leaf(folder: Path) -> Path:
    save_file(rule_state(ldm_unet_shapes(32)), folder / "unet.safetensors")
    return folder / "unet.safetensors"


def _sdseg_without_vision_encoder(folder: Path) -> Path:
    whole = rule_state(sdseg_shapes(32, 32)) | sdseg_constants(0.2)
    kept = {key: value for key, value in whole.items() if not key.startswith("cond_stage_model.out.")}
    torch.save({"state_dict": kept}, folder / "sdseg.ckpt")
    return folder / "sdseg.ckpt"


def _odd_width(folder: Path) -> Path:
    source = rule_state(ldm_autoencoder_shapes(32))
    source["encoder.down.0.block.0.conv1.weight"] = torch.zeros(7, 32, 3, 3)
    save_file(source, folder / "odd.safetensors")
    return folder / "odd.safetensors"


def _flat(folder: Path) -> Path:
    source = rule_state(ldm_unet_shapes(32, in_channels=4))
    source["input_blocks.0.0.weight"] = torch.zeros(3)
    save_file(source, folder / "flat.safetensors")
    return folder / "flat.safetensors"


def _not_finite(folder: Path) -> Path:
    source = rule_state(ldm_autoencoder_shapes(32))
    source["encoder.conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(source, folder / "nan.safetensors")
    return folder / "nan.safetensors"


def _file_in_a_folder(folder: Path) -> Path:
    (folder / "kl-f8").mkdir()
    (folder / "kl-f8" / "model.ckpt").touch()
    return folder / "kl-f8"


def _model_of_ours(folder: Path) -> Path:
    (folder / "model").mkdir()
    for name in ("config.json", "model.pt"):
        (folder / "model" / name).touch()
    return folder / "model"


def _other_file(folder: Path) -> Path:
    (folder / "image.png").write_bytes(b"\x89PNG")
    return folder / "image.png"


def _empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _half_of_taesd(folder: Path) -> Path:
    save_file({"0.weight": torch.zeros(2)}, folder / "taesd_encoder.safetensors")
    return folder / "taesd_encoder.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_truncated, "cannot be read as weights"),
        (_truncated_safetensors, "cannot be read as weights"),
        (_payload, "can run code of its author: it was not loaded"),
        (_unknown, "belong to nothing known; expected one of: LDM's kl-f8"),
        (_incomplete, "{source}: The weights were recognised as the autoencoder of LDM (kl-f8)"),
        (_incomplete, "1 missing: quant_conv.bias"),
        (_unet_of_leaf, "trained to segment, and needs its image encoder"),
        (_sdseg_without_vision_encoder, "recognised as a checkpoint of SDSeg, but they do not fit it. 1 missing"),
        (_odd_width, "No such network can be built (num_channels (7) must be divisible by num_groups (32))"),
        (_flat, "input_blocks.0.0.weight (found (3,), expected 4 dimensions)"),
        (_not_finite, "1 with values that are not finite floating-point numbers: encoder.conv_in.weight"),
        (_file_in_a_folder, "If model.ckpt is what you mean, give the file itself"),
        (_model_of_ours, "a model of leaf_seg already"),
        (lambda folder: "./nothere", "No file or folder"),
        (_other_file, "file of the kind '.png'"),
        (_empty_folder, "Nothing known in the folder"),
        (_half_of_taesd, "one half of TAESD"),
        (lambda folder: folder / "absent.ckpt", "No file or folder"),
        (lambda folder: "nobody/nothing", "not in the Hugging Face cache"),
    ],
)
def test_bad_input_ends_with_code_2_and_no_folder(
    make: Callable[[Path], Path | str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path)
    message = message.format(source=source)
    before = sorted(tmp_path.iterdir())
    assert convert(source, tmp_path / "converted") == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before  # neither the folder nor half of it, and no trace of a payload


def test_a_folder_that_is_there_is_left_alone(kl_f8: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(kl_f8, tmp_path / "a.safetensors")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("x")
    assert convert(tmp_path / "a.safetensors", tmp_path / "taken") == 2
    assert "is there already" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "taken").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / "a.safetensors", tmp_path / "empty") == 0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["--weights", "ema"], "on which --weights would have no effect"),
        (["--image-size", 64, 64, "--class-name", "x"], "--image-size and --class-name would have no effect"),
    ],
)
def test_options_without_effect(
    choice: list[object], message: str, kl_f8: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(kl_f8, tmp_path / "a.safetensors")
    assert convert(tmp_path / "a.safetensors", tmp_path / "converted", *choice) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("Error while serializing")])
def test_a_failed_write_leaves_nothing(
    error: Exception, kl_f8: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise error

    save_file(kl_f8, tmp_path / "a.safetensors")
    monkeypatch.setattr(AutoencoderKL, "save_pretrained", fail)
    assert convert(tmp_path / "a.safetensors", tmp_path / "converted") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
