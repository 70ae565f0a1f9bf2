"""The training loss of a network that draws its answers: the evidence lower bound."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from leaf_seg.networks.mask_codec import class_shares
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.setting_bounds import SETTINGS


class ElboLoss:
    """Cross-entropy of an answer whose z is drawn from the posterior, and the posterior's divergence from the prior.

    With N pixels it is (CE summed over the pixels + beta KL(Q || P)) / N, the mean over the batch: the loss of Kohl et
    al. (NeurIPS 2018, Eq. 4) over N, so that neither beta nor the learning rate depends on the image size.

    Args:
        kl_weight: beta, 0 to 1e6.

    Raises:
        InputError: When ``kl_weight`` is another number.
    """

    def __init__(self, kl_weight: float = 1.0) -> None:
        check_bounds({"kl_weight": kl_weight}, SETTINGS)
        self.kl_weight = kl_weight

    def __call__(self, output: dict[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            output: "logits" [B, K, H, W], "prior" and "posterior" [B, 2, L], as mean and logarithm of the standard
                deviation.
            label: [B, 1, H, W] integers, or [B, K, H, W] shares.
        """
        logits = output["logits"]
        cross_entropy = F.cross_entropy(logits, class_shares(label, logits.shape[1]))
        divergence = kl_divergence(output["posterior"], output["prior"]).mean()
        return cross_entropy + self.kl_weight * divergence / logits[0, 0].numel()


def kl_divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """KL(first || second) in nats, [B], of Gaussians with independent numbers.

    Sum over the numbers of log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1 / 2.

    Args:
        first: means m and logarithms of the standard deviations s, [B, 2, L].
        second: likewise.
    """
    (mean, log), (other_mean, other_log) = first.unbind(dim=1), second.unbind(dim=1)
    square = (2 * (log - other_log)).exp() + ((mean - other_mean) * (-other_log).exp()).square()
    return (other_log - log + 0.5 * (square - 1)).sum(dim=1)
