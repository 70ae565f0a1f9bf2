"""From class probabilities to labels, class by class."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def most_probable(probabilities: Iterable[torch.Tensor]) -> torch.Tensor:
    """The most probable class of each pixel or voxel; of equally probable ones the first.

    The maps may be made one by one: what is held is the one at hand and the greatest values so far.

    Args:
        probabilities: K maps of one shape, background first.

    Returns:
        Class indices, uint8 in the shape of the maps.
    """
    maps = iter(probabilities)
    greatest = next(maps).clone()
    label = torch.zeros_like(greatest, dtype=torch.uint8)
    for index, values in enumerate(maps, start=1):
        label.masked_fill_(values > greatest, index)
        torch.maximum(greatest, values, out=greatest)
        del values  # before the next one is made
    return label
