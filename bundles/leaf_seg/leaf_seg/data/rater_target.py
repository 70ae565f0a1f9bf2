"""What a slice that several raters have labelled is trained on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from leaf_seg.runtime.setting_bounds import RATER_TARGET

_STREAM = 1  # beside the augmentation's, which is seeded by the same number


class RaterTarget(Protocol):
    """Makes one training target of what the raters of a slice marked."""

    def __call__(self, labels: torch.Tensor, seed: int | None) -> torch.Tensor:
        """The target of a slice.

        Args:
            labels: class numbers of R raters, uint8 [R, H, W]; of a slice without raters its label, R = 1.
            seed: of the slice's augmentation; None draws from PyTorch's generator.
        """


class DrawnRater:
    """One of the raters, each as likely, drawn anew whenever a slice is read (as Kohl et al., NeurIPS 2018)."""

    def __call__(self, labels: torch.Tensor, seed: int | None) -> torch.Tensor:
        """Class numbers uint8 [1, H, W]; arguments as of :class:`RaterTarget`."""
        count = len(labels)
        number = torch.randint(count, ()) if seed is None else np.random.default_rng((seed, _STREAM)).integers(count)
        return labels[int(number)][None]


class MeanOfRaters:
    """The share of the raters who marked each class.

    Args:
        num_classes: K, background included.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(self, labels: torch.Tensor, seed: int | None) -> torch.Tensor:
        """Shares float32 [K, H, W] that sum to 1; arguments as of :class:`RaterTarget`, the seed without effect."""
        return torch.stack([(labels == number).float().mean(dim=0) for number in range(self.num_classes)])


def rater_target(name: str | None, num_classes: int) -> RaterTarget | None:
    """The target of the setting ``rater_target``; None where training uses the labels alone.

    Args:
        name: "drawn", "mean" or None.
        num_classes: K, background included.

    Raises:
        InputError: When the name is another one.
    """
    RATER_TARGET.check(name, "rater_target")
    if name is None:
        return None
    return DrawnRater() if name == "drawn" else MeanOfRaters(num_classes)
