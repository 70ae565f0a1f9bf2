"""Intervals for the sizes of structures, by split conformal prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest

INTERVAL_PERCENT = 90  # of the cases should have their true size within


def size_error(predicted: int, true: int) -> float:
    """How far a size is from the true one: |ln((true + 1) / (predicted + 1))|, of voxels or pixels.

    One is added so that a structure that is missed or made up has an error, too.
    """
    return abs(math.log((true + 1) / (predicted + 1)))


def conformal_margin(errors: Sequence[float]) -> float | None:
    """The error that 90 % of further cases do not exceed, by those of n cases of the same kind that were held out.

    It is the k-th least, k = ceil(0.9 (n + 1)) (Lei et al., Distribution-free predictive inference for regression,
    arXiv 1604.04173): as n + 1 cases in any order are alike, the next error is among the k least with a probability of
    k / (n + 1), which is 90 % or more.

    Args:
        errors: of n cases.

    Returns:
        The margin; None for fewer than nine cases, of which no error is large enough.
    """
    rank = -(-INTERVAL_PERCENT * (len(errors) + 1) // 100)
    return sorted(errors)[rank - 1] if rank <= len(errors) else None


def size_interval(predicted: int, margin: float, greatest: int) -> tuple[float, float]:
    """The sizes whose :func:`size_error` is at most the margin, not below 0 and not above that of the whole image.

    Args:
        predicted: voxels or pixels of the structure.
        margin: as of :func:`conformal_margin`.
        greatest: voxels or pixels of the image.
    """
    low = (predicted + 1) * math.exp(-margin) - 1
    high = (predicted + 1) * math.exp(min(margin, math.log(greatest + 1))) - 1
    return max(low, 0.0), min(high, float(greatest))


def share_interval(number: int, of: int) -> dict[str, float | int | None]:
    """A share of independent cases, with Wilson's 95 % interval, ready for JSON; of none it is None."""
    if not of:
        return {"share": None, "low": None, "high": None, "number": 0, "n": 0}
    found: Any = binomtest(number, of).proportion_ci(0.95, method="wilson")
    return {"share": number / of, "low": float(found.low), "high": float(found.high), "number": number, "n": of}
