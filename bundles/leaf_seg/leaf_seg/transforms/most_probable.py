"""From class probabilities to labels, class by class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch


class Tally(Protocol):
    """Counts what goes by, such as :class:`~leaf_seg.metrics.ExpectedDice`."""

    def add_class(self, index: int, probabilities: torch.Tensor) -> None:
        """Take the map of a foreground class."""

    def add_label(self, label: torch.Tensor, greatest: torch.Tensor) -> None:
        """Take the label map made of all of them, and the probabilities of its classes."""


def most_probable(probabilities: Iterable[torch.Tensor], tally: Tally | None = None) -> torch.Tensor:
    """The most probable class of each pixel or voxel; of equally probable ones the first.

    The maps may be made one by one: what is held is the one at hand and the greatest values so far.

    Args:
        probabilities: K maps of one shape, background first.
        tally: is shown the maps and what was made of them.

    Returns:
        Class indices, uint8 in the shape of the maps.
    """
    maps = iter(probabilities)
    greatest = next(maps).clone()
    label = torch.zeros_like(greatest, dtype=torch.uint8)
    for index, values in enumerate(maps, start=1):
        if tally is not None:
            tally.add_class(index, values)
        label.masked_fill_(values > greatest, index)
        torch.maximum(greatest, values, out=greatest)
        del values  # before the next one is made
    if tally is not None:
        tally.add_label(label, greatest)
    return label
