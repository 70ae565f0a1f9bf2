"""The training loss in latent space, and by choice in image space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from leaf_seg.networks import LatentSegmenter
from leaf_seg.precision import autocast


class DenoisingLoss(nn.Module):
    """L1 between the U-Net's output and its target (LEAF Eq. 4).

    Differs from the paper: with ``image_loss_weight`` > 0 the estimate of the clean latent is decoded by the frozen
    decoder and compared with the label map by soft Dice and cross-entropy, as end-to-end fine-tuning of one-step
    diffusion models does (Martin Garcia et al., arXiv 2409.11355).

    Args:
        network: gives parameterisation, schedule and frozen decoder; needed for the image-space loss.
        image_loss_weight: weight of the image-space loss; 0 is the paper's.
        precision: "fp32", "bf16" or "fp16" of the decoder in the image-space loss.
    """

    def __init__(self, network: LatentSegmenter, image_loss_weight: float = 0.0, precision: str = "fp32") -> None:
        super().__init__()
        self._network = (network,)  # in a tuple: the loss owns no parameters
        self.image_loss_weight = image_loss_weight
        self.precision = precision

    def forward(self, output: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scalar loss.

        Args:
            output: the U-Net's, [B, 4n, h, w].
            targets: "target" and "noisy" [B, 4n, h, w], "timesteps" [B], "label" [B, 1, H, W].
        """
        loss = F.l1_loss(output.float(), targets["target"])
        if self.image_loss_weight:
            network = self._network[0]
            latent = network.clean_latent(output, targets["noisy"], targets["timesteps"])
            with autocast(latent.device, self.precision):
                probabilities = network.decode_mask(latent)
            loss = loss + self.image_loss_weight * mask_loss(probabilities, targets["label"])
        return loss


def mask_loss(probabilities: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss (mean over the foreground classes of the whole batch) plus cross-entropy.

    Args:
        probabilities: [B, K, H, W].
        label: [B, 1, H, W] integers.
    """
    index = label.long()
    # Decoded probabilities reach exactly 0 and 1, where the logarithm and its gradient are not finite.
    log_probabilities = probabilities.clamp(min=1e-4).log()
    cross_entropy = -log_probabilities.gather(1, index).mean()
    truth = torch.zeros_like(probabilities).scatter_(1, index, 1)
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))[1:]  # [K - 1]
    total = (probabilities + truth).sum(dim=(0, 2, 3))[1:]
    return cross_entropy + 1 - ((2 * overlap + 1) / (total + 1)).mean()
