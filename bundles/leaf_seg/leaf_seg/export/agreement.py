"""Whether an exported file does what the model does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from leaf_seg.export.file_format import Run
from leaf_seg.export.variants import Variant

MOST_DIFFERENCE = 1e-3  # of a class probability; rounding gives some 1e-6
MOST_OTHER_LABELS = 1e-3  # share of pixels
SURE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """Of the answers of two programs to the same images.

    Attributes:
        difference: greatest absolute difference of a class probability.
        other_labels: share of the pixels with another most probable class.
        unsure: share of the class probabilities that are neither 0 nor 1 by more than :data:`SURE`.
    """

    difference: float
    other_labels: float
    unsure: float

    @property
    def holds(self) -> bool:
        """Whether both are within their bounds, which NaN is not."""
        return self.difference <= MOST_DIFFERENCE and self.other_labels <= MOST_OTHER_LABELS

    def __str__(self) -> str:
        """For the log and for messages."""
        return (
            f"class probabilities differ by {self.difference:.1e} at most (allowed: {MOST_DIFFERENCE:.0e}), "
            f"{self.other_labels:.2%} of the labels are others (allowed: {MOST_OTHER_LABELS:.1%}; {self.unsure:.1%} of "
            "the probabilities compared are neither 0 nor 1)"
        )


def agreement(module: Variant, run: Run) -> Agreement:
    """Compare an exported function with its module, on images of other numbers and sizes than it was made with.

    A shape or a kind of number that differs counts as a difference that is not finite.
    """
    difference, other, unsure, pixels = 0.0, 0, 0.0, 0
    for inputs in module.checked_with():
        with torch.no_grad():
            expected, found = module(*inputs), run(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        if [(e.shape, e.dtype) for e in expected] != [(f.shape, f.dtype) for f in found]:
            return Agreement(float("nan"), 1.0, 0.0)
        gap = float((expected[-1] - found[-1]).abs().max())
        difference = math.nan if math.isnan(gap) or math.isnan(difference) else max(gap, difference)
        labels = [out[0] if len(out) > 1 else out[0].argmax(dim=1) for out in (expected, found)]
        other += int((labels[0] != labels[1]).sum())
        unsure += float(((expected[-1] - 0.5).abs() < 0.5 - SURE).float().mean(dim=1).sum())
        pixels += labels[0].numel()
    return Agreement(difference, other / pixels, unsure / pixels)
