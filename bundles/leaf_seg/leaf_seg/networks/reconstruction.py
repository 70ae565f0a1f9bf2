"""Networks of the autoencoder stage: one to train, one to measure what a label map keeps."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, VQModel
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder, decode_latent, encode_mode
from leaf_seg.networks.mask_codec import Codec, check_channels
from leaf_seg.networks.vector_quantization import LearningCodebook


class ReconstructionNetwork(nn.Module):
    """An autoencoder with what its training's loss needs.

    That is its posterior, of AutoencoderTiny and VQModel one of variance 1; of a VQModel the loss of its codebook, too.
    """

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        is_quantized = isinstance(autoencoder, VQModel)
        self.codebook = LearningCodebook(autoencoder.quantize.embedding) if is_quantized else None

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """From an image [B, 3, H, W] in [-1, 1] to "reconstruction" [B, 3, H, W], "mean" and "logvar" [B, 4, h, w].

        Of a VQModel "codebook_loss", a scalar, too.
        """
        if self.codebook is not None:
            latent = self.autoencoder.encode(image).latents
            codes, loss = self.codebook(latent)
            return self._of_unit_variance(latent, decode_latent(self.autoencoder, codes)) | {"codebook_loss": loss}
        if not isinstance(self.autoencoder, AutoencoderKL):
            latent = encode_mode(self.autoencoder, image)
            return self._of_unit_variance(latent, decode_latent(self.autoencoder, latent))
        posterior = self.autoencoder.encode(image).latent_dist
        latent = posterior.sample() if self.training else posterior.mode()
        return {
            "reconstruction": decode_latent(self.autoencoder, latent),
            "mean": posterior.mean,
            "logvar": posterior.logvar,
        }

    def _of_unit_variance(self, latent: torch.Tensor, reconstruction: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"reconstruction": reconstruction, "mean": latent, "logvar": torch.zeros_like(latent)}


class MaskRoundTrip(nn.Module):
    """Label map -> mask images -> latent -> mask images -> class probabilities: the ceiling of any segmentation.

    Args:
        autoencoder: not copied, so that it can be measured while it trains.
        codec: between label maps and mask images.

    Raises:
        InputError: When the autoencoder takes images of other channels than the codec makes.
    """

    def __init__(self, autoencoder: Autoencoder, codec: Codec) -> None:
        super().__init__()
        check_channels(codec, autoencoder.config)
        self.autoencoder = autoencoder
        self.codec = codec

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of label maps [B, 1, H, W]."""
        latent = encode_mode(self.autoencoder, self.codec.encode(label))
        return self.codec.decode(decode_latent(self.autoencoder, latent))
