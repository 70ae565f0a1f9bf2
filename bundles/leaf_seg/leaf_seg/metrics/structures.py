"""What one segmentation says of each structure: its size, and how sure the model is of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr


@dataclass(frozen=True)
class Structure:
    """One structure of a segmented image.

    Attributes:
        size: its voxels or pixels, times the size of one of them.
        confidence: mean probability of the structure over what is given to it, 0 to 1; None where that is nothing.
        entropy: mean entropy of the class probabilities over the same, in nats, 0 to ln K; None where that is nothing.
    """

    size: float
    confidence: float | None
    entropy: float | None


def describe_structures(
    label: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], element_size: float = 1.0
) -> dict[str, Structure]:
    """Size, confidence and entropy of each foreground class.

    Args:
        label: class indices [*spatial].
        probabilities: class probabilities [K, *spatial].
        class_names: K names, background first.
        element_size: of one voxel or pixel, in the unit wanted.

    Returns:
        The structures by name.
    """
    entropy = entr(probabilities).sum(axis=0)  # [*spatial]
    structures = {}
    for index, name in enumerate(class_names[1:], start=1):
        inside = label == index
        count = int(inside.sum())
        structures[name] = Structure(
            size=count * element_size,
            confidence=float(probabilities[index][inside].mean()) if count else None,
            entropy=float(entropy[inside].mean()) if count else None,
        )
    return structures
