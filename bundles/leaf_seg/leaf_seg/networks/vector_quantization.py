"""Vector quantisation: every latent vector is replaced by the nearest of a codebook."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.vector_quantizer import EMAQuantizer
from torch import nn


def quantize(latent: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """The nearest codes, [B, C, h, w] fp32 (van den Oord et al., NeurIPS 2017, Eq. 1 and 2).

    Their gradient is handed on to the latent as it is. Distances are in fp32 whatever the network computes in: codes
    lie close together.

    Args:
        latent: [B, C, h, w].
        codebook: [N, C].
    """
    with torch.autocast(latent.device.type, enabled=False):
        latent, codebook = latent.float(), codebook.float()
        rows = latent.permute(0, 2, 3, 1)  # [B, h, w, C]
        # The squared distances, but for the squared length of the row, which is the same for all codes.
        distances = codebook.square().sum(dim=1) - 2 * rows @ codebook.T  # [B, h, w, N]
        codes = F.embedding(distances.argmin(dim=-1), codebook).permute(0, 3, 1, 2)  # [B, C, h, w]
        return latent + (codes - latent).detach()


class LearningCodebook(nn.Module):
    """Quantises in training, where each code moves to the average of the latents nearest to it (MONAI's EMAQuantizer).

    Args:
        embedding: the codebook, [N, C], changed in place and by no gradient.
        commitment: weight of the loss that keeps latents near their codes.
    """

    def __init__(self, embedding: nn.Embedding, commitment: float = 0.25) -> None:
        super().__init__()
        number, channels = embedding.weight.shape
        self.quantizer = EMAQuantizer(2, number, channels, commitment_cost=commitment)
        self.quantizer.embedding = embedding.requires_grad_(False)
        self.quantizer.ema_w = embedding.weight.detach().clone()
        self.quantizer.ema_cluster_size = torch.ones_like(embedding.weight[:, 0])  # so that ema_w is their sum

    def forward(self, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes [B, C, h, w] in fp32, with the latent's gradient, and the loss, of latents [B, C, h, w]."""
        with torch.autocast(latent.device.type, enabled=False):
            codes, loss, _ = self.quantizer(latent.float())
        return codes, loss
