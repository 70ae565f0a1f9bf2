"""The frozen encoder of label maps, needed in training only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.latents import LatentEncoder
from leaf_seg.networks.mask_codec import Codec
from leaf_seg.runtime.described import describe


class MaskEncoder(nn.Module):
    """z^y = E(y): label maps to clean mask latents by the frozen autoencoder.

    Args:
        autoencoder: its encoder is frozen.
        codec: makes images of label maps.
    """

    def __init__(self, autoencoder: Autoencoder, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.encoder = LatentEncoder(autoencoder, trainable=False)

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that say, with the weights, what it computes."""
        return {"codec": describe(self.codec), "encoder": self.encoder.config}

    @torch.no_grad()
    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Clean mask latent [B, 4n, h, w] fp32 of label maps [B, 1, H, W]."""
        latents = self.encoder(self.codec.encode(label)).float()  # [B * n, 4, h, w]
        return latents.reshape(len(label), -1, *latents.shape[2:])
