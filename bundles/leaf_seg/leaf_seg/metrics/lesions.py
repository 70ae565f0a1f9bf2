"""Separate structures, such as lesions, that a segmentation finds, misses and makes up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import generate_binary_structure, label

LESION_METRICS = ("precision", "recall", "pq")
LESION_CONVENTIONS = {
    "lesions": "connected parts of a class, also over corners (8 neighbours in a picture, 26 in a volume); one is "
    "found where a predicted one and a true one have an IoU above 0.5, which leaves no choice of partners",
    "precision": "found / (found + made_up); undefined where nothing was predicted, left out of the mean, as its n "
    "shows",
    "recall": "found / (found + missed); undefined where there is nothing in the truth, left out of the mean",
    "pq": "panoptic quality, sum of the IoU of those found / (found + made_up / 2 + missed / 2); undefined where there "
    "is neither, left out of the mean",
    "counts": "of all cases together",
}
_LEAST_IOU = 0.5


@dataclass(frozen=True)
class LesionCounts:
    """Separate structures of one class.

    Attributes:
        found: true ones with a predicted one whose IoU with it is above 0.5.
        made_up: predicted ones without such a partner.
        missed: true ones without such a partner.
        iou: sum of the IoU of those found.
    """

    found: int
    made_up: int
    missed: int
    iou: float

    @property
    def precision(self) -> float:
        """Share of the predicted ones that are found; nan where nothing was predicted."""
        return _share(self.found, self.found + self.made_up)

    @property
    def recall(self) -> float:
        """Share of the true ones that are found; nan where there is none."""
        return _share(self.found, self.found + self.missed)

    @property
    def pq(self) -> float:
        """Panoptic quality (Kirillov et al., CVPR 2019, Eq. 1), 0 to 1; nan where there is no structure at all."""
        return _share(self.iou, self.found + self.made_up / 2 + self.missed / 2)


def count_lesions(pred: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """Count what is found, made up and missed.

    Args:
        pred: predicted mask of one class, bool [*spatial].
        truth: its true mask, same shape.

    Raises:
        ValueError: When the shapes differ.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in shape.")
    corners = generate_binary_structure(pred.ndim, pred.ndim)
    (predicted, num_predicted), (true, num_true) = (label(mask, corners) for mask in (pred, truth))
    both = pred & truth
    pairs, overlap = np.unique(np.stack([predicted[both], true[both]]), axis=1, return_counts=True)
    sizes = [np.bincount(parts.ravel())[numbers] for parts, numbers in zip((predicted, true), pairs, strict=True)]
    iou = overlap / (sizes[0] + sizes[1] - overlap)
    matched = iou[iou > _LEAST_IOU]  # two structures cannot both have more than half of a third one
    found = len(matched)
    return LesionCounts(found, num_predicted - found, num_true - found, float(matched.sum()))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
