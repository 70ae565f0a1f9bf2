"""Risk-coverage curve and its area."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from leaf_seg.metrics import risk_coverage, risk_curve


def test_by_hand() -> None:
    """Most sure first the risks are 0, 0.4, 0.2, 1."""
    found = risk_coverage([0.1, 0.9, 0.5, 0.8], [0.0, 1.0, 0.8, 0.6])
    assert found["risk"] == pytest.approx([0, 0.2, 0.2, 0.4])
    assert found["coverage"] == [0.25, 0.5, 0.75, 1]
    assert found["aurc"]["mean"] == pytest.approx(0.2)
    assert found["aurc"]["low"] <= 0.2 <= found["aurc"]["high"]
    assert found["random"] == pytest.approx(0.4)
    assert found["best"] == pytest.approx((0 + 0.1 + 0.2 + 0.4) / 4)  # of the risks 0, 0.2, 0.4, 1
    assert found["e_aurc"] == pytest.approx(0.2 - 0.175)


def test_equal_confidence_is_the_mean_over_all_orders() -> None:
    risk = np.array([0.1, 0.6, 0.3, 0.9])
    orders = [np.cumsum(risk[list(order)]) / np.arange(1, 5) for order in permutations(range(4))]
    np.testing.assert_allclose(risk_curve([0.5] * 4, risk), np.mean(orders, axis=0))
    tied = [np.cumsum([0.1, *pair, 0.9]) / np.arange(1, 5) for pair in ((0.6, 0.3), (0.3, 0.6))]
    np.testing.assert_allclose(risk_curve([0.9, 0.5, 0.5, 0.1], risk), np.mean(tied, axis=0))


def test_the_area_of_a_random_order_is_the_mean_risk() -> None:
    generator = np.random.default_rng(0)
    risk = generator.random(30)
    areas = [risk_curve(generator.random(30), risk).mean() for _ in range(4000)]
    assert np.mean(areas) == pytest.approx(risk.mean(), abs=0.005)


def test_undefined_confidence_comes_last_and_long_curves_are_thinned() -> None:
    assert risk_curve([math.nan, 0.1], [1.0, 0.0]).tolist() == [0, 0.5]
    found = risk_coverage(np.linspace(0, 1, 1234).tolist(), [0.5] * 1234)
    assert len(found["risk"]) == len(found["coverage"]) == 100
    assert found["coverage"][-1] == 1
    single = risk_coverage([0.3], [0.8])
    assert single["aurc"] == {"mean": pytest.approx(0.2), "low": None, "high": None, "n": 1}
