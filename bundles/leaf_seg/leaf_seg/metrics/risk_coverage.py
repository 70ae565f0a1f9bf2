"""What is gained when the cases that the model is least sure of are left to somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from leaf_seg.metrics.summary import as_json, paired_interval

_MOST_POINTS = 100  # of the curve that is kept


def risk_curve(confidence: Sequence[float] | np.ndarray, risk: Sequence[float] | np.ndarray) -> np.ndarray:
    """Mean risk of the k cases with the highest confidence, for k = 1 to n.

    Cases with the same confidence may come in any order; each has the mean risk of these. Nan is the lowest confidence.

    Args:
        confidence: of n cases.
        risk: of the same cases, lower is better.

    Returns:
        [n].
    """
    sure = np.nan_to_num(np.asarray(confidence, dtype=np.float64), nan=-np.inf)
    values, place = np.unique(-sure, return_inverse=True)  # most sure first
    counts = np.bincount(place, minlength=len(values))
    means = np.bincount(place, weights=np.asarray(risk, dtype=np.float64), minlength=len(values)) / counts
    return np.cumsum(np.repeat(means, counts)) / np.arange(1, len(sure) + 1)


def risk_coverage(confidence: Sequence[float], dice: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Risk-coverage curve of 1 - Dice and its area (AURC; Geifman et al., arXiv 1805.08206), ready for JSON.

    The area is the mean of the curve over k = 1 to n cases. That of a random order is the mean risk; the least there
    can be is that of the cases in the order of their Dice.

    Args:
        confidence: of n cases, at least one.
        dice: of the same cases, 0 to 1.
        seed: of the bootstrap.

    Returns:
        {"aurc": {"mean", "low", "high", "n"}, "e_aurc": aurc minus the least, "random", "best": the area of a random
        order and the least, "coverage", "risk": points of the curve}.
    """
    risk = 1 - np.asarray(dice, dtype=np.float64)
    curve = risk_curve(confidence, risk)
    best = float(risk_curve(-risk, risk).mean())
    area = paired_interval(confidence, risk, lambda sure, lost: float(risk_curve(sure, lost).mean()), seed)
    n = len(risk)
    shown = np.unique(np.linspace(1, n, min(n, _MOST_POINTS)).round().astype(int))  # numbers of cases
    return {
        "aurc": as_json(area),
        "e_aurc": area.mean - best,
        "random": float(risk.mean()),
        "best": best,
        "coverage": (shown / n).tolist(),
        "risk": curve[shown - 1].tolist(),
    }
