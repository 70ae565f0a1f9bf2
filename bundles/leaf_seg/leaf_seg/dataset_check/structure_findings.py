"""Structures that are too small for the chosen image size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaf_seg.data.structure_widths import WIDTH_KEPT, recommended_size
from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.finding import Finding

_LOST = 0.05  # of the connected components of a class


def median_widths(facts: Sequence[CaseFacts]) -> dict[int, float]:
    """Median width of the widest place of each class over the sampled slices, in pixels of the image size."""
    values = sorted({value for fact in facts for value in fact.structures.widths})
    return {
        value: float(np.median([width for fact in facts for width in fact.structures.widths.get(value, [])]))
        for value in values
    }


def component_counts(facts: Sequence[CaseFacts]) -> dict[int, tuple[int, int]]:
    """Number of connected components of each class in the sampled slices, and of those lost at the image size."""
    values = sorted({value for fact in facts for value in fact.structures.components})
    return {
        value: (
            sum(fact.structures.components.get(value, 0) for fact in facts),
            sum(fact.structures.lost.get(value, 0) for fact in facts),
        )
        for value in values
    }


def structure_findings(
    facts: Sequence[CaseFacts], class_names: Sequence[str], image_size: Sequence[int]
) -> list[Finding]:
    """Classes that are thin at the image size, or of which resizing loses parts."""
    size = list(image_size)
    found = []
    for value, width in median_widths(facts).items():
        if width < WIDTH_KEPT:
            larger = list(recommended_size(size, width))
            found.append(
                Finding(
                    "warning",
                    "thin structures",
                    f"Class {value} ({class_names[value]}) is {width:.1f} pixels wide at its widest place, as a median "
                    f"over slices at image_size {size}; under {WIDTH_KEPT:g} a structure is easily lost.",
                    f'--image_size "{larger}" would widen it to that, if the images have so many pixels.',
                )
            )
    for value, (count, lost) in component_counts(facts).items():
        if lost > _LOST * count:
            found.append(
                Finding(
                    "warning",
                    "structures lost by resizing",
                    f"{lost} of {count} connected parts of class {value} ({class_names[value]}) have no pixel left at "
                    f"image_size {size}.",
                    "Take a larger --image_size, or clean the label maps if these parts are specks.",
                )
            )
    return found
