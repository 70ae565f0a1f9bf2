"""Networks of the autoencoder stage: one to train, one to measure what a label map keeps."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.mask_codec import Codec


class ReconstructionNetwork(nn.Module):
    """AutoencoderKL with its posterior, for the reconstruction loss."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """From an image [B, 3, H, W] in [-1, 1] to "reconstruction" [B, 3, H, W], "mean" and "logvar" [B, 4, h, w]."""
        posterior = self.autoencoder.encode(image).latent_dist
        latent = posterior.sample() if self.training else posterior.mode()
        return {
            "reconstruction": self.autoencoder.decode(latent).sample,
            "mean": posterior.mean,
            "logvar": posterior.logvar,
        }


class MaskRoundTrip(nn.Module):
    """Label map -> mask images -> latent -> mask images -> class probabilities: the ceiling of any segmentation.

    Args:
        autoencoder: not copied, so that it can be measured while it trains.
        codec: between label maps and mask images.
    """

    def __init__(self, autoencoder: Autoencoder, codec: Codec) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.codec = codec

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of label maps [B, 1, H, W]."""
        encoded = self.autoencoder.encode(self.codec.encode(label))
        is_kl = isinstance(self.autoencoder, AutoencoderKL)
        latent = encoded.latent_dist.mode() if is_kl else encoded.latents
        return self.codec.decode(self.autoencoder.decode(latent).sample)
