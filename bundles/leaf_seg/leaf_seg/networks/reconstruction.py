"""Networks of the autoencoder stage: one to train, one to measure what a label map keeps."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder, encode_mode
from leaf_seg.networks.mask_codec import Codec


class ReconstructionNetwork(nn.Module):
    """An autoencoder with its posterior, for the reconstruction loss; of AutoencoderTiny, one of variance 1."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """From an image [B, 3, H, W] in [-1, 1] to "reconstruction" [B, 3, H, W], "mean" and "logvar" [B, 4, h, w]."""
        if not isinstance(self.autoencoder, AutoencoderKL):
            latent = encode_mode(self.autoencoder, image)
            reconstruction = self.autoencoder.decode(latent).sample
            return {"reconstruction": reconstruction, "mean": latent, "logvar": torch.zeros_like(latent)}
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
        latent = encode_mode(self.autoencoder, self.codec.encode(label))
        return self.codec.decode(self.autoencoder.decode(latent).sample)
