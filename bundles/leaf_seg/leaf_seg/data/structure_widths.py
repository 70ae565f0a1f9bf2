"""How wide structures are in the slices that a network sees, and the image size that keeps thin ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

logger = logging.getLogger(__name__)

# Through the light autoencoder a disc of this width in pixels keeps a Dice of 0.95, of 5 pixels 0.91, of 4 pixels 0.81.
WIDTH_KEPT = 6.0
Width = tuple[int, float]  # of a class
_MAX_STACKS = 1000  # at most twice as many are measured
_MAX_SLICES = 8  # of a stack
_STEP = 32  # pixels, of the sizes recommended; every network and autoencoder here takes its multiples


class StructureWidths:
    """Measures the structures of a data set as its slices are prepared.

    The width of a class in a slice is that of its widest place: twice the greatest distance to what it is not, in
    pixels of the network's size. What the resizing has lost has the width 0. A sample of stacks and slices is measured.

    Args:
        image_size: (H, W) of the slices.
        num_stacks: stacks to come.
    """

    def __init__(self, image_size: tuple[int, int], num_stacks: int = 1) -> None:
        self.image_size = image_size
        self._every = max(1, num_stacks // _MAX_STACKS)
        self._num_stacks = 0
        self._widths: dict[int, list[float]] = {}  # by class

    def add(self, prepared: torch.Tensor, resized: np.ndarray) -> None:
        """Measure a stack of slices; arguments as of :func:`measured_widths`."""
        self.count(measured_widths(prepared, resized) if self.takes(self._num_stacks) else [])

    def takes(self, number: int) -> bool:
        """Whether the stack of that number, from 0, is in the sample."""
        return number % self._every == 0

    def count(self, widths: Iterable[Width]) -> None:
        """Take the widths of the next stack, as :func:`measured_widths` gives them, if it is in the sample."""
        if self.takes(self._num_stacks):
            for value, width in widths:
                self._widths.setdefault(value, []).append(width)
        self._num_stacks += 1

    def widths(self) -> dict[int, list[float]]:
        """Width in each measured slice with a class, by class."""
        return {value: list(self._widths[value]) for value in sorted(self._widths)}

    def medians(self) -> dict[int, float]:
        """Median over the slices with a class, by class."""
        return {value: float(np.median(widths)) for value, widths in self.widths().items()}

    def log(self) -> None:
        """Log the widths, and which image size to take where one is less than :data:`WIDTH_KEPT`."""
        medians = self.medians()
        if not medians:
            return
        size = list(self.image_size)
        found = ", ".join(f"class {value} {width:.1f}" for value, width in medians.items())
        logger.info("Widest place of structures at image_size %s, median over sampled slices: %s pixels.", size, found)
        thinnest = min(medians, key=lambda value: medians[value])
        if medians[thinnest] < WIDTH_KEPT:
            larger = recommended_size(self.image_size, medians[thinnest])
            logger.warning(
                "Class %d is thin at image_size %s: under %g pixels a structure is easily lost, above all by latent "
                'diffusion. --image_size "%s" would widen it to that; a step then costs about %.1f times as much.',
                thinnest,
                size,
                WIDTH_KEPT,
                list(larger),
                math.prod(larger) / math.prod(size),
            )


def measured_widths(prepared: torch.Tensor, resized: np.ndarray) -> list[Width]:
    """Class and width for each class in each of up to eight slices of a stack.

    Args:
        prepared: label maps [S, 1, h, w], class indices, before they are resized.
        resized: the same [S, 1, H, W], as the network sees them.
    """
    found = []
    for index in range(0, len(prepared), math.ceil(len(prepared) / _MAX_SLICES)):
        counts = torch.bincount(prepared[index].flatten().to(torch.uint8))  # unique would sort
        found += [(value, _width(resized[index, 0] == value)) for value in counts.nonzero().flatten().tolist() if value]
    return found


def recommended_size(image_size: Sequence[int], width: float) -> tuple[int, int]:
    """The size, in multiples of 32 pixels, at which structures of this width in pixels have :data:`WIDTH_KEPT`."""
    factor = WIDTH_KEPT / max(width, 1.0)
    height, breadth = (_STEP * math.ceil(side * factor / _STEP) for side in image_size)
    return height, breadth


def _width(mask: np.ndarray) -> float:
    """Of the widest place of a mask [H, W], what is beyond its border being background."""
    if not mask.any():
        return 0.0
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # what is nearest lies in it or right around it
    doubled = np.pad(mask.repeat(2, axis=0).repeat(2, axis=1), 1)  # in which odd widths have a middle, too
    return float(distance_transform_edt(doubled).max())
