from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import Timesteps

from leaf_seg.distillation import Projector
from leaf_seg.networks.unet import HEADS_KEY
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.ldm_autoencoder import ldm_autoencoder, ldm_encoder_state
from leaf_seg.weights.ldm_unet import ldm_unet
from leaf_seg.weights.unet_folder import load_unet
from tests.weights.published_layouts import (
    ldm_autoencoder_shapes,
    ldm_encoder_shapes,
    ldm_unet_shapes,
    sdseg_constants,
    sdseg_shapes,
)
from tests.weights.published_rule import assert_record, rule_input, rule_state

WIDTHS = [pytest.param("small", 32, 32), pytest.param("full", 192, 128, marks=pytest.mark.nightly)]
PRECISIONS = [pytest.param(torch.float64, 1e-11, id="fp64"), pytest.param(torch.float32, 2e-5, id="fp32")]


def on_meta(shapes: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_layouts_are_the_recorded_ones(shared_layouts: Path) -> None:
    def recorded(name: str) -> Any:
        return json.loads((shared_layouts / f"{name}.json").read_text())["keys"]

    assert ldm_unet_shapes() == recorded("ldm_unet")
    assert ldm_autoencoder_shapes() == recorded("kl_f8")
    assert ldm_encoder_shapes() == recorded("leaf_folder")["latent_encoder"]
    constants = {name: list(value.shape) for name, value in sdseg_constants(0.2).items()}
    assert sdseg_shapes() | constants == recorded("sdseg")["state_dict"]


@pytest.mark.parametrize(("size", "channels"), [("small", 32), ("full", 192)])
def test_sinusoid_is_the_recorded_one(
    size: str, channels: int, records: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """On this machine as exactly as its fp32 exp() allows; and to the last digit with the recorded frequencies."""
    record = records[f"time_sinusoid_{size}"]["sinusoid"]
    sinusoid = Timesteps(channels, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert_record(sinusoid(torch.tensor([999, 123])), record, atol=2e-5)
    request.getfixturevalue("recorded_sinusoid")
    assert_record(sinusoid(torch.tensor([999, 123])), record, atol=1e-11)


@pytest.mark.usefixtures("recorded_sinusoid")
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("size", "channels", "_"), WIDTHS)
def test_unet_computes_what_the_published_one_does(
    size: str, channels: int, _: int, dtype: torch.dtype, tolerance: float, records: dict[str, Any]
) -> None:
    record = records[f"ldm_unet_{size}"]
    unet = ldm_unet(rule_state(ldm_unet_shapes(channels))).to(dtype)
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found.__setitem__(name, output)

    unet.time_embedding.register_forward_hook(keep("time_embed"))
    unet.down_blocks[0].downsamplers[0].register_forward_hook(keep("aligned(input_blocks.3)"))
    unet.mid_block.register_forward_hook(keep("middle"))
    with torch.no_grad():
        x = rule_input("input:x", (2, 8, 32, 32)).to(dtype)
        found["sample"] = unet(x, torch.tensor([999, 123])).sample
        projector = Projector(channels, 768)
        shapes = {f"projector.{name}": tensor.shape for name, tensor in projector.state_dict().items()}
        projector.load_state_dict({name[10:]: value for name, value in rule_state(shapes).items()})
        found["projected_tokens"] = projector.to(dtype)(found["aligned(input_blocks.3)"])
    for name in record:
        assert_record(found[name], record[name], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("size", "_", "channels"), WIDTHS)
def test_autoencoder_computes_what_the_published_one_does(
    size: str, _: int, channels: int, dtype: torch.dtype, tolerance: float, records: dict[str, Any]
) -> None:
    record = records[f"kl_f8_{size}"]
    autoencoder = ldm_autoencoder(rule_state(ldm_autoencoder_shapes(channels))).to(dtype)
    with torch.no_grad():
        image = rule_input("input:image", (1, 3, 64, 64)).to(dtype)
        posterior = autoencoder.encode(2 * image - 1).latent_dist
        assert_record(posterior.mode(), record["mode"], tolerance)
        assert_record(posterior.logvar, record["logvar_clamped"], tolerance)
        latent = rule_input("input:z", (1, 4, 8, 8)).to(dtype)
        assert_record(autoencoder.decode(latent).sample, record["decode"], tolerance)


@pytest.mark.nightly
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_full_vision_encoder_of_sdseg(dtype: torch.dtype, tolerance: float, records: dict[str, Any]) -> None:
    encoder = ldm_encoder_shapes()
    shapes = {name: shape for name, shape in encoder.items() if not name.startswith("quant_conv.")}
    source = rule_state(shapes)
    out = rule_state({"out.weight": [4, 8, 1, 1], "out.bias": [4]})
    autoencoder = ldm_autoencoder(rule_state(ldm_autoencoder_shapes()))
    state = ldm_encoder_state(
        source | {f"quant_conv.{k}": torch.cat([out[f"out.{k}"], out[f"out.{k}"] * 0]) for k in ("weight", "bias")},
        autoencoder,
        "the image encoder",
    )
    autoencoder.load_state_dict(state, strict=False)
    with torch.no_grad():
        image = rule_input("input:image", (1, 3, 64, 64)).to(dtype)
        found = autoencoder.to(dtype).encode(2 * image - 1).latent_dist.mode()
    assert_record(found, records["sdseg_vision_encoder_full"]["c"], tolerance)


def test_numbers_of_parameters() -> None:
    assert num_parameters(ldm_unet(on_meta(ldm_unet_shapes()))) == 294_973_828
    assert num_parameters(ldm_unet(on_meta(ldm_unet_shapes(in_channels=4)))) == 294_966_916
    autoencoder = ldm_autoencoder(on_meta(ldm_autoencoder_shapes()))
    assert num_parameters(autoencoder) == 83_653_863
    encoder = ldm_encoder_state(on_meta(ldm_encoder_shapes()), autoencoder, "the image encoder")
    assert sum(tensor.numel() for tensor in encoder.values()) == 34_163_664


def test_eight_heads_at_every_level_after_saving_and_loading(tmp_path: Path) -> None:
    unet = ldm_unet(rule_state(ldm_unet_shapes(32)))
    unet.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config[HEADS_KEY] == 8
    again = load_unet(config, tmp_path).eval()
    assert {module.heads for module in again.modules() if hasattr(module, "heads")} == {8}
    x = rule_input("input:x", (2, 8, 32, 32))
    with torch.no_grad():
        assert torch.equal(again(x, 999).sample, unet(x, 999).sample)


def test_misfits_are_listed_in_one_error() -> None:
    source = rule_state(ldm_unet_shapes(32))
    del source["input_blocks.4.1.proj_out.bias"], source["out.0.weight"]
    source["input_blocks.9.9.weight"] = torch.zeros(3)
    source["middle_block.1.qkv.weight"] = torch.zeros(7, 5, 1)
    source["time_embed.0.bias"] = torch.zeros(3)
    with pytest.raises(InputError) as error:
        ldm_unet(source)
    message = str(error.value)
    assert "recognised as the U-Net of LDM" in message
    assert "2 missing: " in message
    assert "out.0.weight" in message
    assert "input_blocks.4.1.proj_out.bias" in message
    assert "1 unexpected: input_blocks.9.9.weight" in message
    assert "time_embed.0.bias (found (3,), expected (128,))" in message
    assert "middle_block.1.qkv.weight (found (7, 5, 1)" in message


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"input_blocks.3.0.op.weight": torch.zeros(32, 32, 3, 3)}, "strided convolution"),
        ({"label_emb.weight": torch.zeros(14, 128)}, "one of 14 classes"),
    ],
)
def test_relatives_are_refused(extra: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ldm_unet(rule_state(ldm_unet_shapes(32)) | extra)


def test_an_autoencoder_of_another_shape_is_refused() -> None:
    source = rule_state(ldm_autoencoder_shapes(32))
    source["decoder.up.2.block.1.conv1.weight"] = torch.zeros(8, 8, 3, 3)
    with pytest.raises(InputError, match=r"decoder.up.2.block.1.conv1.weight .found"):
        ldm_autoencoder(source)
    del source["decoder.conv_in.weight"]
    with pytest.raises(InputError, match=r"missing: decoder.conv_in.weight"):
        ldm_autoencoder(source)
