"""Projectors: from the U-Net's features to the teacher's tokens."""

from __future__ import annotations

import torch
from torch import nn


class Projector(nn.Sequential):
    """Three linear layers with SiLU between them, the phi of Eq. 5; every place alone.

    Args:
        in_channels: C, channels of the aligned U-Net feature map.
        embed_dim: D, the teacher's embedding dimension.
        hidden_dim: width of the two hidden layers.
    """

    def __init__(self, in_channels: int, embed_dim: int, hidden_dim: int = 2048) -> None:
        super().__init__(
            nn.Linear(in_channels, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, embed_dim),
        )

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Tokens [B, h * w, D], row by row, of a feature map [B, C, h, w]."""
        return super().forward(feature.flatten(2).transpose(1, 2))


class ConvProjector(nn.Conv2d):
    """One convolution of 3 x 3, iREPA's in the MLP's place; every place with its neighbours.

    Args:
        in_channels: C, channels of the aligned U-Net feature map.
        embed_dim: D, the teacher's embedding dimension.
    """

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__(in_channels, embed_dim, kernel_size=3, padding=1)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Tokens [B, h * w, D], row by row, of a feature map [B, C, h, w]."""
        return super().forward(feature).flatten(2).transpose(1, 2)
