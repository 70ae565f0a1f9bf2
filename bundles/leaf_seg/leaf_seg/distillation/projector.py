"""The projector: an MLP from the U-Net's features to the teacher's."""

from __future__ import annotations

from torch import nn


class Projector(nn.Sequential):
    """Three linear layers with SiLU between them, the phi of Eq. 5: tokens [B, L, C] -> [B, L, D].

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
