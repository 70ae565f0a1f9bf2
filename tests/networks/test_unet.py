from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention

from leaf_seg.networks import build_conditional_unet, build_unet
from leaf_seg.networks.unet import widen_conv_in

PROFILE = Path(__file__).parents[2] / "bundles" / "leaf_seg" / "configs" / "profiles" / "ldm_kl8.json"
TINY: dict[str, Any] = {
    "sample_size": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}


def attention_modules(unet: torch.nn.Module) -> list[Attention]:
    return [module for module in unet.modules() if isinstance(module, Attention)]


@pytest.mark.parametrize(("before", "after"), [(4, 8), (4, 16), (1, 4)])
def test_widened_conv_in(before: int, after: int) -> None:
    unet = build_unet(TINY | {"in_channels": before, "out_channels": 4})
    latent = torch.randn(2, before, 8, 8)
    expected, whole = unet.conv_in(latent), unet(latent, 5).sample
    widen_conv_in(unet, after)
    assert unet.config["in_channels"] == unet.conv_in.in_channels == after
    repeated = latent.repeat(1, after // before, 1, 1)
    torch.testing.assert_close(unet.conv_in(repeated), expected)
    torch.testing.assert_close(unet(repeated, 5).sample, whole)
    # Each part counts, and counts the same.
    first = torch.cat([latent, torch.zeros(2, after - before, 8, 8)], dim=1)
    bias = unet.conv_in.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(unet.conv_in(first) - bias, (expected - bias) / (after // before))


def test_image_latents_of_other_channels() -> None:
    unet = build_conditional_unet(TINY, latent_channels=2, num_mask_latents=2, image_channels=3)
    assert (unet.config["in_channels"], unet.config["out_channels"]) == (7, 4)
    weight = unet.conv_in.weight
    for channel in range(7):  # the same two again and again
        torch.testing.assert_close(weight[:, channel], weight[:, channel % 2])
    assert not torch.equal(weight[:, 0], weight[:, 1])


def test_widened_weight_trains_and_keeps_its_type() -> None:
    unet = build_unet(TINY | {"in_channels": 4, "out_channels": 4}).double()
    widen_conv_in(unet, 8)
    assert unet.conv_in.weight.requires_grad
    assert unet.conv_in.weight.dtype == torch.float64


@pytest.mark.parametrize("num_mask_latents", [1, 3])
def test_conditional_channels(num_mask_latents: int) -> None:
    unet = build_conditional_unet(TINY, num_mask_latents=num_mask_latents)
    latents = torch.randn(1, 4 + 4 * num_mask_latents, 4, 4)
    assert unet(latents, 0).sample.shape == (1, 4 * num_mask_latents, 4, 4)


def test_conditional_network_begins_as_the_unconditional_one() -> None:
    torch.manual_seed(3)
    unconditional = build_unet(TINY | {"in_channels": 4, "out_channels": 4})
    torch.manual_seed(3)
    conditional = build_conditional_unet(TINY)
    latent = torch.randn(1, 4, 4, 4)
    torch.testing.assert_close(conditional(latent.repeat(1, 2, 1, 1), 7).sample, unconditional(latent, 7).sample)


@pytest.mark.parametrize("heads", [None, 4])
def test_built_again_from_its_config(heads: int | None) -> None:
    config = TINY if heads is None else TINY | {"num_attention_heads": heads}
    unet = build_conditional_unet(config)
    again = build_unet(json.loads(json.dumps(dict(unet.config))))
    again.load_state_dict(unet.state_dict())
    sample = torch.randn(2, 8, 8, 8)
    assert torch.equal(again(sample, 3).sample, unet(sample, 3).sample)
    assert {**again.config} | {"_use_default_values": None} == {**unet.config} | {"_use_default_values": None}


def test_number_of_heads() -> None:
    torch.manual_seed(0)
    plain = build_unet(TINY)
    torch.manual_seed(0)
    four = build_unet(TINY | {"num_attention_heads": 4})
    found = [(module.heads, module.scale) for module in attention_modules(four)]
    assert found == [(4, 0.5)] * 4  # 16 channels, 4 a head
    assert {module.heads for module in attention_modules(plain)} == {8}
    for unet in (plain, four):
        for parameter in unet.parameters():  # attention is about uniform at the start
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(0))
    sample = torch.randn(1, 3, 8, 8)
    assert not torch.allclose(plain(sample, 0).sample, four(sample, 0).sample, rtol=1e-3)


def test_attention_of_the_given_heads_by_hand() -> None:
    unet = build_unet(TINY | {"num_attention_heads": 4})
    attention = attention_modules(unet)[0]
    tokens = torch.randn(1, 16, 3, 3)
    with torch.no_grad():
        for linear in (attention.to_q, attention.to_k):
            linear.weight.mul_(5)
        output = attention(tokens) - tokens  # the residual
        hidden = attention.group_norm(tokens.flatten(2)).transpose(1, 2)  # [1, 9, 16]
        query, key, value = (
            linear(hidden).unflatten(2, (4, 4)).transpose(1, 2)  # [1, 4 heads, 9, 4]
            for linear in (attention.to_q, attention.to_k, attention.to_v)
        )
        weights = (query @ key.transpose(2, 3) / 2).softmax(dim=-1)
        expected = attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, expected.transpose(1, 2).unflatten(2, (3, 3)))


def test_network_of_the_paper() -> None:
    config = json.loads(PROFILE.read_text())["unet_config"] | {"dropout": 0.2}
    with torch.device("meta"):
        unet = build_conditional_unet(config)
        output = unet(torch.zeros(1, 8, 32, 32), 0).sample
    assert sum(parameter.numel() for parameter in unet.parameters()) == 294_973_828
    assert output.shape == (1, 4, 32, 32)
    modules = attention_modules(unet)
    assert {module.heads for module in modules} == {8}
    assert {(module.inner_dim, round(module.scale**-2)) for module in modules} == {(192, 24), (384, 48), (768, 96)}
    assert all(module.group_norm is not None for module in modules)
