"""Which cases somebody should look at, by how sure the model is of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CAUGHT_PERCENT = 90  # of the bad cases
FLAGGED_PERCENT = 10  # of all cases, where none is bad
_DIGITS = 4  # as tables show it; where a batch of another size rounds otherwise, a case stays on its side


@dataclass(frozen=True)
class LookAt:
    """A threshold, and what it does with the cases that it was chosen on.

    Attributes:
        threshold: cases with at most this confidence are flagged.
        flagged: number of these.
        caught: bad cases among them.
        bad: number of bad cases, with a Dice below what is acceptable.
        n: number of cases.
    """

    threshold: float
    flagged: int
    caught: int
    bad: int
    n: int


def choose_threshold(confidence: Sequence[float], dice: Sequence[float], acceptable_dice: float) -> LookAt:
    """The smallest threshold that catches 90 % of the bad cases; without any, that which flags 10 % of all.

    Args:
        confidence: of each case, 0 to 1.
        dice: of the same cases.
        acceptable_dice: a case is bad where its Dice is below.

    Returns:
        The threshold, rounded up to four digits. Nan counts as a confidence of 0.
    """
    known = [0.0 if math.isnan(sure) else sure for sure in confidence]
    bad = [sure for sure, value in zip(known, dice, strict=True) if value < acceptable_dice]
    chosen, percent = (bad, CAUGHT_PERCENT) if bad else (known, FLAGGED_PERCENT)
    rank = -(-percent * len(chosen) // 100)
    scale = 10**_DIGITS
    return count_flagged(confidence, dice, acceptable_dice, math.ceil(sorted(chosen)[rank - 1] * scale) / scale)


def count_flagged(
    confidence: Sequence[float], dice: Sequence[float], acceptable_dice: float, threshold: float
) -> LookAt:
    """What a threshold does with cases; arguments as of :func:`choose_threshold`. A confidence of nan is flagged."""
    pairs = list(zip(confidence, dice, strict=True))
    flagged = [value for sure, value in pairs if math.isnan(sure) or sure <= threshold]
    caught, bad = (sum(value < acceptable_dice for value in cases) for cases in (flagged, [v for _, v in pairs]))
    return LookAt(threshold, len(flagged), caught, bad, len(pairs))
