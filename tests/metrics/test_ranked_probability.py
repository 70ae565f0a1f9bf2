"""The CRPS of a few samples, against the integral that defines it."""

from __future__ import annotations

import numpy as np
import pytest

from leaf_seg.metrics import crps


@pytest.mark.parametrize(("samples", "observed"), [([1.0, 2.0, 4.0], 2.5), ([3.0, 3.0], 1.0), ([0.0, 5.0, 1.0], 7.0)])
def test_is_the_integral_over_the_distribution_functions(samples: list[float], observed: float) -> None:
    edges = np.sort([*samples, observed])
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    below = np.array([np.mean(np.array(samples) <= x) for x in middles])
    assert crps(samples, observed) == pytest.approx(np.sum(widths * (below - (middles >= observed)) ** 2))


def test_by_hand() -> None:
    assert crps([4.0], 1.5) == 2.5
    # |0 - 1|, |2 - 1| in the mean 1; |X - X'| over four pairs 0, 2, 2, 0 in the mean 1
    assert crps([2.0, 0.0], 1.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="one sample"):
        crps([], 1.0)
