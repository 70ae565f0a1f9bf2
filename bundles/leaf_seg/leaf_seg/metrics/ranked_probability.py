"""How well several values, such as the volumes of hypotheses, foretell the one that is observed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def crps(samples: Sequence[float] | np.ndarray, observed: float) -> float:
    """Continuous ranked probability score of the distribution that has 1 / N at each sample.

    E|X - y| - E|X - X'| / 2, the second mean over all N^2 pairs, those of a sample with itself included (Gneiting and
    Raftery, JASA 2007, Eq. 21). So it is exactly the integral of the squared difference of the two distribution
    functions. It is in the unit of the samples, lower is better, and for one sample it is the absolute error. Without
    the pairs of a sample with itself (the "fair" score) it would not favour more samples; here it does.

    Args:
        samples: N values.
        observed: y.

    Raises:
        ValueError: Without samples.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    number = len(values)
    if not number:
        raise ValueError("crps takes one sample or more.")
    # The sum of |X - X'| over all pairs: the i-th smallest is the greater of i pairs, and the smaller of n - 1 - i.
    spread = 2 * float(np.sum((2 * np.arange(number) - number + 1) * values)) / number**2
    return float(np.abs(values - observed).mean()) - spread / 2
