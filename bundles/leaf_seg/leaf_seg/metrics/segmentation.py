"""Overlap and surface metrics of one segmented case."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice
from monai.utils import convert_to_tensor

from leaf_seg.metrics.conventions import METRICS


def case_metrics(
    pred: torch.Tensor, label: torch.Tensor, num_classes: int, spacing: Sequence[float], tolerance: float
) -> dict[str, list[float]]:
    """Compare a predicted label map with the truth, class by class.

    Empty classes follow :data:`~leaf_seg.metrics.conventions.CONVENTIONS`: absent from both counts as right, absent
    from one as wrong, and the Hausdorff distance is then not a number, or in its worst case the diagonal.

    Args:
        pred: predicted class indices [*spatial], 2D or 3D.
        label: true class indices, same shape.
        num_classes: K, background included.
        spacing: pixel or voxel size along each spatial axis.
        tolerance: largest distance, in the unit of ``spacing``, at which two surfaces still agree.

    Returns:
        For each of :data:`METRICS` the values of classes 1 to K - 1.

    Raises:
        ValueError: When the shapes differ.
    """
    if pred.shape != label.shape:
        raise ValueError(f"prediction {tuple(pred.shape)} and label {tuple(label.shape)} differ in shape.")
    pred, label = (convert_to_tensor(x, device="cpu", track_meta=False) for x in (pred, label))
    rows = [_class_metrics(pred == index, label == index, spacing, tolerance) for index in range(1, num_classes)]
    return {name: [row[name] for row in rows] for name in METRICS}


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Diagonal of a picture or volume, in the unit of its spacing: no distance in it is longer.

    Args:
        shape: number of pixels or voxels along each axis.
        spacing: size of one along each axis.
    """
    return math.hypot(*(number * size for number, size in zip(shape, spacing, strict=True)))


def _class_metrics(
    pred: torch.Tensor, label: torch.Tensor, spacing: Sequence[float], tolerance: float
) -> dict[str, float]:
    """The metrics of one class from its masks, bool [*spatial]."""
    farthest = diagonal(label.shape, spacing)
    pred, label = pred[None, None], label[None, None]  # [1, 1, *spatial]
    if pred.any() and label.any():
        hd95 = compute_hausdorff_distance(pred, label, include_background=True, percentile=95, spacing=list(spacing))
        surface_dice = compute_surface_dice(pred, label, [tolerance], include_background=True, spacing=list(spacing))
    else:  # MONAI answers nan or infinity here
        agree = not (pred.any() or label.any())
        hd95 = torch.tensor(0.0 if agree else torch.nan)
        surface_dice = torch.tensor(float(agree))
    dice = compute_dice(pred, label, ignore_empty=False).item()
    return {
        "dice": dice,
        "iou": compute_iou(pred, label, ignore_empty=False).item(),
        "hd95": hd95.item(),
        "surface_dice": surface_dice.item(),
        "dice_positive": dice if label.any() else math.nan,
        "hd95_worst": farthest if hd95.isnan() else hd95.item(),
    }
