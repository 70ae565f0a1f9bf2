"""Means, bootstrap intervals and what is left out of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from leaf_seg.metrics import Interval, bootstrap_interval, summarize


def test_interval_is_that_of_the_normal_theory():
    values = np.random.default_rng(1).normal(0.8, 0.1, size=400)
    interval = bootstrap_interval(values)
    half_width = 1.96 * values.std() / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.15 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.15 * half_width)
    assert interval.n == 400


def test_interval_follows_confidence_and_seed():
    values = [0.1, 0.5, 0.7, 0.75, 0.9, 0.91]
    wide, narrow = bootstrap_interval(values, confidence=0.99), bootstrap_interval(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)


def test_undefined_values_are_left_out():
    assert bootstrap_interval([0.5, math.nan, 0.5]) == Interval(0.5, 0.5, 0.5, 2)


def test_too_few_values_have_no_interval():
    one = bootstrap_interval([0.5, math.nan])
    assert (one.mean, one.n) == (0.5, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(bootstrap_interval([]).mean)


def test_summary_per_class_and_over_the_foreground():
    def row(case: str, name: str, value: float, hd95: float) -> dict:
        scores = dict.fromkeys(("dice", "iou", "surface_dice", "dice_positive"), value)
        return {"case": case, "class": name, **scores, "hd95": hd95, "hd95_worst": 9 if math.isnan(hd95) else hd95}

    rows = [row("a", "x", 0.5, 2), row("a", "y", 1.0, math.nan), row("b", "x", 0.7, math.nan), row("b", "y", 0.0, 4)]

    summary = json.loads(json.dumps(summarize(rows), allow_nan=False))

    assert summary["n"] == 2
    assert summary["classes"]["x"]["dice"] == {
        "mean": pytest.approx(0.6),
        "low": pytest.approx(0.5),
        "high": pytest.approx(0.7),
        "n": 2,
    }
    assert summary["classes"]["x"]["hd95"] == {"mean": 2, "low": None, "high": None, "n": 1}
    assert summary["classes"]["x"]["hd95_worst"]["mean"] == pytest.approx((2 + 9) / 2)
    # Case means 0.75 and 0.35: n is the number of cases, not of classes.
    assert summary["mean_foreground"]["dice"]["mean"] == pytest.approx(0.55)
    assert summary["mean_foreground"]["dice"]["n"] == 2
    assert summary["mean_foreground"]["hd95"] == {
        "mean": pytest.approx(3),
        "low": pytest.approx(2),
        "high": pytest.approx(4),
        "n": 2,
    }
