from __future__ import annotations

import math

import numpy as np
import pytest

from leaf_seg.metrics import rank_correlation


def test_by_hand() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)."""
    found = rank_correlation([0.1, 0.2, 0.3, 0.4, 0.5], [0.52, 0.51, 0.54, 0.53, 0.9])
    assert found.mean == pytest.approx(0.8)
    assert -1 <= found.low < 0.8 <= found.high <= 1
    assert found.n == 5


@pytest.mark.slow
def test_sign_and_interval() -> None:
    scores = np.random.default_rng(0).random(200)
    noise = np.random.default_rng(1).normal(0, 0.2, 200)
    rising = rank_correlation(scores, scores + noise)
    falling = rank_correlation(scores, -scores - noise)
    assert 0.5 < rising.low < rising.mean < rising.high < 1
    assert falling.mean == pytest.approx(-rising.mean)
    assert rising == rank_correlation(scores, scores + noise)  # seeded


@pytest.mark.parametrize(
    ("scores", "dice"),
    [([], []), ([0.1, 0.2], [0.3, 0.4]), ([0.5] * 4, [0.1, 0.2, 0.3, 0.4]), ([0.1, 0.2, 0.3], [1] * 3)],
)
def test_undefined(scores: list[float], dice: list[float]) -> None:
    found = rank_correlation(scores, dice)
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high))
    assert found.n == len(scores)
