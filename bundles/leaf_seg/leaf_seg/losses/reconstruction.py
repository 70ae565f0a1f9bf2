"""The loss of the autoencoder stage."""

from __future__ import annotations

import torch
from torch import nn


class ReconstructionLoss(nn.Module):
    """L1 and squared error between image and reconstruction, plus a small Kullback-Leibler term.

    Where there is a codebook, its loss is added.

    L1 alone lets rare structures of mask images vanish: where a pixel is more often outside than inside, the best
    constant answer is "outside", and its gradient does not say otherwise. The squared error asks for the mean.

    Args:
        squared_error_weight: weight of the squared error beside L1.
        kl_weight: weight of the divergence from N(0, I), averaged over the latent's values; small, as in LDM
            (Rombach et al., CVPR 2022), so that the latent stays informative.
    """

    def __init__(self, squared_error_weight: float = 1.0, kl_weight: float = 1e-4) -> None:
        super().__init__()
        self.squared_error_weight = squared_error_weight
        self.kl_weight = kl_weight

    def forward(self, pred: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            pred: "reconstruction" [B, 3, H, W], "mean" and "logvar" [B, 4, h, w] of the posterior;
                of a VQModel "codebook_loss", a scalar.
            image: [B, 3, H, W] in [-1, 1].
        """
        mean, logvar = pred["mean"].float(), pred["logvar"].float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        error = pred["reconstruction"].float() - image
        loss = error.abs().mean() + self.squared_error_weight * error.square().mean() + self.kl_weight * divergence
        return loss + pred.get("codebook_loss", 0)
