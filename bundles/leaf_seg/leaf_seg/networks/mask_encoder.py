"""The frozen encoder of mask images, needed in training only."""

from __future__ import annotations

import torch
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder, encode_latent, encoder_part, freeze
from leaf_seg.networks.mask_codec import MaskCodec


class MaskEncoder(nn.Module):
    """z^y = E(y): label maps to clean mask latents by the frozen autoencoder.

    Args:
        autoencoder: its encoder is copied and frozen.
        num_classes: K, background included.
    """

    def __init__(self, autoencoder: Autoencoder, num_classes: int) -> None:
        super().__init__()
        self.codec = MaskCodec(num_classes)
        self.encoder = freeze(encoder_part(autoencoder))

    def train(self, mode: bool = True) -> MaskEncoder:
        """Frozen: stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Clean mask latent [B, 4n, h, w] fp32 of label maps [B, 1, H, W]."""
        latents = encode_latent(self.encoder, self.codec.encode(label)).float()  # [B * n, 4, h, w]
        return latents.reshape(len(label), -1, *latents.shape[2:])
