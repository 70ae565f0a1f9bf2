"""From an image latent straight to mask latents: no noise and no timestep."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D
from torch import nn

from leaf_seg.networks.limits import UNET_BOUNDS, check_parameters
from leaf_seg.runtime.bounds import Bound, check_bounds
from leaf_seg.runtime.described import CLASS_KEY
from leaf_seg.runtime.errors import InputError

_WIDTH = Bound(1, 8192, lengths=(1, 1))


class LatentMapper(ModelMixin, ConfigMixin):
    """The mapper of Generative Medical Segmentation (Huo et al., AAAI 2025, arXiv 2403.18198), in the U-Net's place.

    Residual blocks with attention between them, all at the latent's own size. What it is given of noisy mask latents
    and timesteps plays no part, so that one step of "x0" prediction is its answer.

    Differs from the paper: diffusers' blocks, of one width.

    Args:
        in_channels: of image latent and mask latents, 4 + 4n, the image latent first.
        out_channels: of the mask latents, 4n.
        block_out_channels: width, as the only one of a list.
        layers_per_block: attentions, with a residual block before, between and after them.
        attention_head_dim: channels of an attention head.
        norm_num_groups: groups of the group norms; divides the width.
        dropout: of the residual blocks.
    """

    config: Any

    @register_to_config
    def __init__(
        self,
        in_channels: int = 8,
        out_channels: int = 4,
        block_out_channels: tuple[int] = (128,),
        layers_per_block: int = 2,
        attention_head_dim: int = 32,
        norm_num_groups: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        (width,) = block_out_channels
        self.conv_in = nn.Conv2d(in_channels - out_channels, width, kernel_size=3, padding=1)
        self.mid_block = UNetMidBlock2D(
            in_channels=width,
            temb_channels=None,
            num_layers=layers_per_block,
            attention_head_dim=attention_head_dim,
            resnet_groups=norm_num_groups,
            dropout=dropout,
        )
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, width)
        self.conv_out = nn.Conv2d(width, out_channels, kernel_size=3, padding=1)

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor) -> UNet2DOutput:
        """Mask latents [B, 4n, h, w] as ``sample``, of [B, 4 + 4n, h, w]; the timesteps [B] are not looked at."""
        image_latent = latents[:, : self.conv_in.in_channels]
        features = self.mid_block(self.conv_in(image_latent))
        return UNet2DOutput(sample=self.conv_out(nn.functional.silu(self.conv_norm_out(features))))


def build_latent_mapper(config: Mapping[str, Any]) -> LatentMapper:
    """Build one with random weights.

    Args:
        config: arguments of :class:`LatentMapper`.

    Raises:
        InputError: When a number makes no sense, or the network would be too large.
    """
    arguments = {key: value for key, value in config.items() if key != CLASS_KEY}
    unknown = arguments.keys() - inspect.signature(LatentMapper).parameters.keys()
    if unknown:
        raise InputError(f"Latent mapper: no argument {', '.join(sorted(unknown))}; expected those of a LatentMapper.")
    check_bounds(arguments, {**UNET_BOUNDS, "block_out_channels": _WIDTH}, "Latent mapper: ")
    check_parameters("A latent mapper", arguments.get("block_out_channels", ()), arguments.get("layers_per_block", 2))
    return LatentMapper(**arguments)
