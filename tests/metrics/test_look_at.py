"""The threshold below which somebody should look at a case."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leaf_seg.metrics import LookAt, choose_threshold, count_flagged


def test_the_smallest_threshold_that_catches_nine_of_ten_bad_cases() -> None:
    confidence = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    dice = [0.0, 0.1, 0.9, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2, 0.4]  # ten bad ones, the ninth at 0.95
    assert choose_threshold(confidence, dice, 0.7) == LookAt(0.95, 10, 9, 10, 11)
    assert choose_threshold(confidence[:3], dice[:3], 0.7) == LookAt(0.2, 2, 2, 2, 3)  # of two both


def test_no_smaller_threshold_would_do() -> None:
    generator = np.random.default_rng(3)
    confidence, dice = generator.random((2, 200))
    found = choose_threshold(confidence.tolist(), dice.tolist(), 0.3)
    assert found.caught >= 0.9 * found.bad
    fewer = count_flagged(confidence.tolist(), dice.tolist(), 0.3, found.threshold - 2e-4)
    assert fewer.caught < 0.9 * found.bad


@pytest.mark.parametrize(("n", "flagged"), [(1, 1), (10, 1), (11, 2), (40, 4)])
def test_without_bad_cases_a_tenth_is_flagged(n: int, flagged: int) -> None:
    confidence = (np.arange(n) / 100 + 0.5).tolist()
    found = choose_threshold(confidence, [0.7] * n, 0.7)
    assert (found.flagged, found.caught, found.bad) == (flagged, 0, 0)
    assert found.threshold == pytest.approx(confidence[flagged - 1], abs=1e-4)


def test_the_threshold_has_room_for_rounding_and_undefined_is_flagged() -> None:
    assert choose_threshold([0.123412345, 0.9], [0.1, 0.9], 0.7).threshold == 0.1235
    assert choose_threshold([math.nan, 0.9], [0.1, 0.9], 0.7) == LookAt(0.0, 1, 1, 1, 2)
    assert count_flagged([math.nan, 0.9], [0.1, 0.9], 0.7, 0.5).flagged == 1
