"""Means over cases with bootstrap confidence intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap

from leaf_seg.metrics.conventions import METRICS


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: mean of the defined values; nan when there is none.
        low: lower end of the interval; nan when n < 2.
        high: upper end of the interval; nan when n < 2.
        n: number of defined values.
    """

    mean: float
    low: float
    high: float
    n: int


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, num_resamples: int = 9999, seed: int = 0
) -> Interval:
    """Mean of one value per case, with a percentile bootstrap interval over the cases.

    Args:
        values: one value per case; nan stands for undefined and is left out.
        confidence: probability mass of the interval, between 0 and 1.
        num_resamples: bootstrap resamples.
        seed: seed of the resampling.
    """
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    if n < 2:
        return Interval(float(defined[0]) if n else math.nan, math.nan, math.nan, n)
    interval = bootstrap(
        (defined,),
        np.mean,
        confidence_level=confidence,
        n_resamples=num_resamples,
        batch=1000,  # resamples in memory at a time
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(defined.mean()), float(interval.low), float(interval.high), n)


def paired_interval(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray, np.ndarray], float],
    seed: int = 0,
) -> Interval:
    """A number of two values of each case, with a 95 % percentile bootstrap interval over the cases.

    Args:
        first: of n cases.
        second: of the same cases.
        statistic: what makes the number of both; nan where it is undefined, which resamples may be.
        seed: of the bootstrap.

    Returns:
        The number in the place of the mean; no interval where it is undefined, or for a single case.
    """
    pairs = np.array([first, second], dtype=np.float64)
    found, n = statistic(pairs[0], pairs[1]), pairs.shape[1]
    if math.isnan(found) or n < 2:
        return Interval(found, math.nan, math.nan, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # resamples of one case many times have none
        resampled = bootstrap(
            tuple(pairs),
            statistic,
            paired=True,
            vectorized=False,
            n_resamples=2000,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Interval(found, float(low), float(high), n)


def summarize(rows: Sequence[Mapping[str, Any]], seed: int = 0, metrics: Sequence[str] = METRICS) -> dict[str, Any]:
    """Summarise metrics over cases, per class and over the foreground, ready for JSON.

    The foreground value of a case is the mean of its classes, undefined ones left out; its interval is over cases, so
    that the classes of one case are not taken for independent observations.

    Args:
        rows: one for each case and class: "case" (a name of its own for each case), "class", and every metric.
        seed: seed of the bootstrap.
        metrics: their names, by default :data:`~leaf_seg.metrics.conventions.METRICS`.

    Returns:
        {"n": cases, "classes": {class: {metric: {"mean", "low", "high", "n"}}}, "mean_foreground": {metric: ...}},
        with None for what is undefined.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    names = list(dict.fromkeys(row["class"] for row in rows))
    table = {(row["case"], row["class"]): row for row in rows}
    summary: dict[str, Any] = {"n": len(cases), "classes": {name: {} for name in names}, "mean_foreground": {}}
    for metric in metrics:
        values = np.array([[table[case, name][metric] for name in names] for case in cases], dtype=np.float64)
        for column, name in enumerate(names):
            summary["classes"][name][metric] = as_json(bootstrap_interval(values[:, column], seed=seed))
        means = [mean_defined(row) for row in values]
        summary["mean_foreground"][metric] = as_json(bootstrap_interval(means, seed=seed))
    return summary


def mean_defined(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the values that are not nan; nan when there is none."""
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    return float(defined.mean()) if len(defined) else math.nan


def as_json(interval: Interval) -> dict[str, float | int | None]:
    """The interval with None for nan, which JSON lacks."""
    return {key: None if math.isnan(value) else value for key, value in asdict(interval).items()}
