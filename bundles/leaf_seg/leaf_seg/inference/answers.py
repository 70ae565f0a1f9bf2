"""What a network says of a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Answers:
    """What a network says of one batch of images, at native size.

    Attributes:
        pred: class probabilities [B, K, *spatial], of several hypotheses their mean; or labels, uint8 [B, 1, *spatial].
        expected_dice: of each foreground class [B, K - 1], 0 to 1: :class:`~leaf_seg.metrics.ExpectedDice` of these
            probabilities.
        variance: variance over the hypotheses of the class probabilities, summed over the classes [B, 1, *spatial]; of
            several slicing directions or mirror images the mean of theirs. None without uncertainty.
        entropy: entropy of the mean probabilities in nats, 0 .. ln K [B, 1, *spatial]. None without uncertainty.
        hypotheses: class probabilities of each hypothesis [B, num_samples, K, *spatial], of several slicing directions
            or mirror images their mean. None where they are not kept.
    """

    pred: torch.Tensor
    expected_dice: torch.Tensor
    variance: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    hypotheses: torch.Tensor | None = None
