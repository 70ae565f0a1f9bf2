"""How much a segmentation depends on the initial noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice
from monai.utils import convert_to_tensor


def class_dice(pred: torch.Tensor, label: torch.Tensor, num_classes: int) -> list[float]:
    """Dice of classes 1 to K - 1, as in :func:`~leaf_seg.metrics.case_metrics` but without the slower metrics.

    Args:
        pred: predicted class indices [*spatial], 2D or 3D.
        label: true class indices, same shape.
        num_classes: K, background included.
    """
    pred, label = (convert_to_tensor(x, device="cpu", track_meta=False)[None, None] for x in (pred, label))
    return [compute_dice(pred == k, label == k, ignore_empty=False).item() for k in range(1, num_classes)]


def noise_stability(dice: Mapping[int, Sequence[Sequence[float]]], class_names: Sequence[str]) -> dict[str, Any]:
    """Spread of the mean Dice over noise seeds (LEAF, Table 4), ready for JSON.

    Args:
        dice: for each of two or more noise seeds the Dice of every case and foreground class, [cases, K - 1].
        class_names: K - 1 names.

    Returns:
        {"noise_seeds", "classes": {class: {"dice": {"per_seed", "mean", "std"}}}, "mean_foreground": {"dice": ...},
        "statistic": what the numbers are}.
    """
    means = np.array([np.mean(cases, axis=0) for cases in dice.values()])  # [seeds, K - 1]
    return {
        "noise_seeds": list(dice),
        "classes": {name: {"dice": _spread(means[:, i])} for i, name in enumerate(class_names)},
        "mean_foreground": {"dice": _spread(means.mean(axis=1))},
        "statistic": "mean Dice over cases with each noise seed, one hypothesis each; mean and standard deviation "
        "(ddof = 1) over the seeds",
    }


def _spread(values: np.ndarray) -> dict[str, Any]:
    return {"per_seed": values.tolist(), "mean": float(values.mean()), "std": float(values.std(ddof=1))}
