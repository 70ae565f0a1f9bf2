"""A vision transformer between a convolutional encoder and decoder: a baseline of the papers' tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import TransformerBlock, UnetOutBlock, UnetResBlock, UnetrUpBlock, UpSample
from torch import nn

from leaf_seg.networks.limits import check_parameters
from leaf_seg.networks.logits_network import LogitsNetwork, check_image_size
from leaf_seg.runtime.errors import InputError

_NORM = "instance"


class _TransUNet(nn.Module):
    """Residual stages that halve the image, transformer blocks over the smallest map, and skips on the way up."""

    def __init__(
        self,
        num_classes: int,
        num_positions: int,
        filters: Sequence[int],
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        widths = [3, *filters]
        self.encoder = nn.ModuleList(
            UnetResBlock(2, before, after, kernel_size=3, stride=2, norm_name=_NORM, dropout=dropout or None)
            for before, after in pairwise(widths)
        )
        self.embedding = nn.Conv2d(filters[-1], hidden_size, kernel_size=1)
        self.positions = nn.Parameter(torch.empty(1, num_positions, hidden_size))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden_size, 4 * hidden_size, num_heads, dropout_rate=dropout) for _ in range(num_layers)
        )
        for block in self.blocks:
            block.norm_cross_attn = nn.Identity()  # MONAI's has weights, which nothing uses
        self.norm = nn.LayerNorm(hidden_size)
        widths = [hidden_size, *reversed(filters[:-1])]
        self.decoder = nn.ModuleList(
            UnetrUpBlock(2, below, above, kernel_size=3, upsample_kernel_size=2, norm_name=_NORM, res_block=False)
            for below, above in pairwise(widths)
        )
        self.last = UpSample(2, filters[0], filters[0], scale_factor=2, mode="deconv")
        self.out = UnetOutBlock(2, filters[0], num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits [B, K, H, W] of an image [B, 3, H, W]."""
        maps, features = [], image
        for stage in self.encoder:
            features = stage(features)
            maps.append(features)
        embedded = self.embedding(features)  # [B, D, h, w]
        tokens = embedded.flatten(2).transpose(1, 2) + self.positions  # [B, h * w, D]
        for block in self.blocks:
            tokens = block(tokens)
        features = self.norm(tokens).transpose(1, 2).reshape(embedded.shape)
        for up, skip in zip(self.decoder, reversed(maps[:-1]), strict=True):
            features = up(features, skip)
        return self.out(self.last(features))


class TransUNetSegmenter(LogitsNetwork, _TransUNet):
    """A TransUNet (Chen et al., arXiv 2102.04306) of MONAI's blocks.

    Differs from the paper: the encoder has residual blocks with instance norm and no weights of ImageNet, where the
    published one is a pretrained ResNet-50 before a pretrained ViT-B/16 (``hidden_size`` 768, 12 layers, 12 heads).

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, multiples of 2^levels and at least twice that; the positions of
            the tokens are learnt for it.
        filters: channels of the encoder's levels, of which each halves the image; the paper's has four.
        hidden_size: length of a token, D.
        num_layers: transformer blocks.
        num_heads: attention heads; divides ``hidden_size``.
        dropout: probability of dropout in encoder and transformer.

    Raises:
        InputError: When image size, filters or heads are unfit.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        filters: Sequence[int] = (32, 64, 128, 256),
        hidden_size: int = 256,
        num_layers: int = 4,
        num_heads: int = 8,
        dropout: float = 0.0,
    ) -> None:
        options = {
            "filters": filters,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "dropout": dropout,
        }
        self.check(num_classes=num_classes, image_size=image_size, **options)
        if len(filters) < 2:
            raise InputError(f"filters is {list(filters)}; expected the channels of at least two levels.")
        if hidden_size % num_heads:
            raise InputError(f"hidden_size is {hidden_size}; expected a multiple of num_heads, {num_heads}.")
        factor = 2 ** len(filters)
        check_image_size("TransUNet", image_size, smallest=2 * factor, multiple=factor)
        check_parameters("A TransUNet", [*filters, hidden_size], layers=max(num_layers, 1))
        positions = math.prod(side // factor for side in image_size)
        _TransUNet.__init__(self, num_classes, positions, filters, hidden_size, num_layers, num_heads, dropout)
        self.describe(num_classes, image_size, **options | {"filters": list(filters)})
