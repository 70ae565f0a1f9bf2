"""The denoising U-Net: diffusers' UNet2DModel, its input widened for the image latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import nn

from leaf_seg.networks.limits import UNET_BOUNDS, check_parameters
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.described import CLASS_KEY
from leaf_seg.runtime.errors import InputError

HEADS_KEY = "num_attention_heads"


def build_unet(config: Mapping[str, Any]) -> UNet2DModel:
    """Build a UNet2DModel with random weights.

    Args:
        config: arguments of ``diffusers.UNet2DModel``; in addition ``num_attention_heads`` sets the same number of
            heads at every level, as in the LDM networks, which ``attention_head_dim`` cannot express.

    Raises:
        InputError: When a number makes no sense, or the network would be too large.
    """
    _check_unet(config)
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    heads = arguments.pop(HEADS_KEY, None)
    unet = UNet2DModel(**arguments)
    if heads is not None:
        set_attention_heads(unet, heads)
    return unet


def _check_unet(config: Mapping[str, Any]) -> None:
    if not isinstance(config, Mapping):
        raise InputError(f"The U-Net's configuration is a {type(config).__name__}; expected arguments by their names.")
    check_bounds(config, UNET_BOUNDS, "U-Net: ")
    check_parameters("A U-Net", config.get("block_out_channels", ()), config.get("layers_per_block", 2))


def unet_description(unet: UNet2DModel) -> dict[str, Any]:
    """Class name and configuration, without diffusers' private keys."""
    return {CLASS_KEY: type(unet).__name__} | {k: v for k, v in unet.config.items() if not k.startswith("_")}


def build_conditional_unet(
    config: Mapping[str, Any],
    latent_channels: int = 4,
    num_mask_latents: int = 1,
    image_channels: int | None = None,
) -> UNet2DModel:
    """Build the U-Net of LEAF with random weights: input [image latent, noisy mask latents], output the mask latents.

    Args:
        config: as for :func:`build_unet`, without ``in_channels`` and ``out_channels``.
        latent_channels: channels of one mask latent (4).
        num_mask_latents: mask latents side by side, n; the input has 4 + 4n channels, the output 4n.
        image_channels: of the image latent; as many as a mask latent's unless given.
    """
    image_channels = latent_channels if image_channels is None else image_channels
    out_channels = latent_channels * num_mask_latents
    unet = build_unet({**config, "in_channels": latent_channels, "out_channels": out_channels})
    widen_conv_in(unet, image_channels + out_channels)
    return unet


def widen_conv_in(unet: UNet2DModel, in_channels: int) -> None:
    """Widen ``conv_in`` in place by repeating its weight, scaled so that the activations keep their size.

    For 4 -> 8 channels the weight is repeated twice and halved, as in Marigold and the published LEAF code.
    """
    old = unet.conv_in
    channels = torch.arange(in_channels) % old.in_channels
    replace_conv_in(unet, old.weight.detach()[:, channels] / (in_channels / old.in_channels))


def replace_conv_in(unet: UNet2DModel, weight: torch.Tensor) -> None:
    """A first convolution with this weight, [C, in, 3, 3], and the bias there is."""
    old, in_channels = unet.conv_in, weight.shape[1]
    new = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    new.weight, new.bias = nn.Parameter(weight), old.bias
    unet.conv_in = new
    unet.register_to_config(in_channels=in_channels)


def set_attention_heads(unet: UNet2DModel, heads: int) -> None:
    """Give every attention module the same number of heads, as in the LDM networks.

    The number is kept in ``unet.config`` for :func:`build_unet`; diffusers' own ``from_pretrained`` would lose it.
    """
    for module in unet.modules():
        if isinstance(module, Attention):
            dim = module.inner_dim // heads
            module.heads = heads
            module.sliceable_head_dim = heads
            module.scale = dim**-0.5
    unet.register_to_config(**{HEADS_KEY: heads})
