"""How well a score ranks cases by their Dice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

from leaf_seg.metrics.summary import Interval, paired_interval

_FEWEST = 3  # cases that have an order worth the name


def rank_correlation(
    scores: Sequence[float] | np.ndarray, dice: Sequence[float] | np.ndarray, seed: int = 0
) -> Interval:
    """Spearman's rank correlation over the cases, with a 95 % percentile bootstrap interval.

    Args:
        scores: of the cases.
        dice: of the same cases.
        seed: of the bootstrap.

    Returns:
        The correlation in the place of the mean. Cases with nan are left out. All is nan for fewer than three cases, or
        when either is the same for all cases.
    """
    pairs = np.array([scores, dice], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    return paired_interval(pairs[0], pairs[1], _spearman, seed)


def _spearman(scores: np.ndarray, dice: np.ndarray) -> float:
    if len(scores) < _FEWEST:
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)  # nan says it
        return float(spearmanr(scores, dice).statistic)
