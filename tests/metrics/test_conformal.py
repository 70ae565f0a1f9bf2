"""Intervals that hold for nine cases of ten."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leaf_seg.metrics import conformal_margin, share_interval, size_error, size_interval


@pytest.mark.parametrize(
    ("n", "rank"), [(8, None), (9, 9), (10, 10), (18, 18), (19, 18), (29, 27), (39, 36), (99, 90), (100, 91)]
)
def test_the_margin_is_the_kth_least_error(n: int, rank: int | None) -> None:
    errors = np.random.default_rng(n).permutation(n) + 1.0  # 1 to n
    assert conformal_margin(errors.tolist()) == rank


def test_the_margin_holds_for_nine_cases_of_ten_on_further_cases() -> None:
    """Whatever the distribution: 19 cases held out, k / (n + 1) = 18 / 20."""
    drawn = np.random.default_rng(0).lognormal(size=(20000, 20))
    margins = np.array([conformal_margin(row[:19].tolist()) for row in drawn], dtype=np.float64)
    assert np.mean(drawn[:, 19] <= margins) == pytest.approx(0.9, abs=0.007)


def test_size_errors_by_hand() -> None:
    assert size_error(9, 19) == pytest.approx(math.log(2))
    assert size_error(19, 9) == pytest.approx(math.log(2))
    assert size_error(0, 0) == 0
    assert size_error(0, 99) == pytest.approx(math.log(100))


def test_the_interval_is_what_has_no_greater_error() -> None:
    assert size_interval(9, math.log(2), 1000) == pytest.approx((4, 19))
    assert size_interval(9, math.log(20), 50) == (0, 50)  # neither below nothing nor above the whole image
    assert size_interval(9, 1000, 50) == (0, 50)
    margin = 0.7
    low, high = size_interval(120, margin, 10**6)
    within = [true for true in range(1000) if size_error(120, true) <= margin]
    assert (math.ceil(low), math.floor(high)) == (within[0], within[-1])


def test_wilsons_interval_by_its_formula() -> None:
    k, n, z = 17, 20, 1.959963984540054
    centre, half = (k + z**2 / 2) / (n + z**2), z * math.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    found = share_interval(k, n)
    assert (found["low"], found["high"]) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert (found["share"], found["number"], found["n"]) == (0.85, 17, 20)
    assert share_interval(0, 0) == {"share": None, "low": None, "high": None, "number": 0, "n": 0}
