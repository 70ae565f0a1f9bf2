"""Whether probabilities mean what they say: calibration errors and Brier score per structure, log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_numpy
from scipy.stats import bootstrap

from leaf_seg.metrics.summary import Interval, as_json, bootstrap_interval
from leaf_seg.transforms.temperature import LEAST_PROBABILITY

NUM_BINS = 15
COUNT, CONFIDENCE, CORRECT = range(3)  # last index of what reliability_bins returns


def reliability_bins(
    probabilities: torch.Tensor | np.ndarray, label: torch.Tensor | np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """Count, for every class, the voxels that are given that class, by their confidence.

    The confidence of a voxel is the probability of the class that it is given, the most probable one. Bins are of equal
    width over [0, 1], their upper end included (Guo et al., ICML 2017). Voxels given another class do not count: the
    background around a structure, which nobody mistakes, would hide every error. In this it differs from MONAI's
    ``calibration_binning``, which takes all voxels of one image; these sums can be added up over cases.

    Args:
        probabilities: class probabilities [K, *spatial].
        label: true class indices [*spatial].
        num_bins: number of bins.

    Returns:
        [K, num_bins, 3] float64: number of voxels, sum of their confidences, number of those whose class is right.

    Raises:
        ValueError: When the shapes do not fit.
    """
    values = convert_to_numpy(probabilities).reshape(len(probabilities), -1)  # [K, voxels]
    truth = convert_to_numpy(label).reshape(-1).astype(np.int64)
    if values.shape[1:] != truth.shape:
        raise ValueError(f"probabilities {tuple(probabilities.shape)} and label {tuple(label.shape)} differ in shape.")
    given = values.argmax(axis=0)
    confidence = values.max(axis=0).astype(np.float64)
    cell = given * num_bins + np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    size = len(values) * num_bins
    columns = [np.bincount(cell, weights, size) for weights in (None, confidence, given == truth)]
    return np.stack(columns, axis=-1).reshape(len(values), num_bins, 3)


def expected_calibration_error(bins: np.ndarray) -> float:
    """Mean distance between confidence and accuracy of the bins, weighted by their voxels (Guo et al., Eq. 3).

    Args:
        bins: of one class, [num_bins, 3], as :func:`reliability_bins` makes them or a sum of such.

    Returns:
        From 0 to 1; nan without a voxel.
    """
    total = bins[:, COUNT].sum()
    return float(np.abs(bins[:, CORRECT] - bins[:, CONFIDENCE]).sum() / total) if total else math.nan


def average_calibration_error(bins: np.ndarray) -> float:
    """Mean distance between confidence and accuracy of the bins with voxels (Barfoot et al., arXiv 2506.03942).

    Each bin weighs alike: a rare confidence as much as a frequent one, also the noise of its few voxels.

    Args:
        bins: of one class, [num_bins, 3], as :func:`reliability_bins` makes them or a sum of such.

    Returns:
        From 0 to 1; nan without a voxel.
    """
    filled = bins[bins[:, COUNT] > 0]
    distances = np.abs(filled[:, CORRECT] - filled[:, CONFIDENCE]) / filled[:, COUNT]
    return float(distances.mean()) if len(filled) else math.nan


def negative_log_likelihood(probabilities: torch.Tensor | np.ndarray, label: torch.Tensor | np.ndarray) -> float:
    """Mean over the voxels of - ln(probability of the true class), in nats, lower is better.

    Probabilities below ``LEAST_PROBABILITY`` count as that: one voxel with 0 would make it infinite.

    Args:
        probabilities: class probabilities [K, *spatial].
        label: true class indices [*spatial].
    """
    values, truth = convert_to_numpy(probabilities), convert_to_numpy(label)
    total = sum(
        float(np.log(np.maximum(p[truth == k], LEAST_PROBABILITY, dtype=np.float64)).sum())
        for k, p in enumerate(values)
    )
    return -total / truth.size


def brier_scores(probabilities: torch.Tensor | np.ndarray, label: torch.Tensor | np.ndarray) -> list[float]:
    """Brier score of every class: mean over the voxels of (probability - truth)^2, from 0 to 1, lower is better.

    Args:
        probabilities: class probabilities [K, *spatial].
        label: true class indices [*spatial].
    """
    truth = convert_to_numpy(label)
    values = convert_to_numpy(probabilities)
    return [float(np.square(p.astype(np.float64) - (truth == k)).mean()) for k, p in enumerate(values)]


def summarize_calibration(
    bins: Sequence[np.ndarray],
    brier: Sequence[Sequence[float]],
    nll: Sequence[float],
    class_names: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Calibration of a split, per structure, ready for JSON.

    Args:
        bins: of every case, [K, num_bins, 3] by :func:`reliability_bins`.
        brier: of every case, K numbers by :func:`brier_scores`.
        nll: of every case, by :func:`negative_log_likelihood`.
        class_names: K names, background first.
        seed: seed of the bootstrap.

    Returns:
        {"classes": {structure: {"ece": interval, "ace": interval, "brier": interval, "mean_confidence", "accuracy",
        "bins": columns}}, "nll": interval, "definition"}; the background is no structure.
    """
    stacked = np.stack(bins)  # [cases, K, num_bins, 3]
    classes = {}
    for k, name in enumerate(class_names):
        if k == 0:
            continue
        total = stacked[:, k].sum(axis=0)
        count = total[:, COUNT].sum()
        classes[name] = {
            "ece": as_json(_error_interval(expected_calibration_error, stacked[:, k], seed)),
            "ace": as_json(_error_interval(average_calibration_error, stacked[:, k], seed)),
            "brier": as_json(bootstrap_interval([case[k] for case in brier], seed=seed)),
            "mean_confidence": float(total[:, CONFIDENCE].sum() / count) if count else None,
            "accuracy": float(total[:, CORRECT].sum() / count) if count else None,
            "bins": {
                "count": total[:, COUNT].astype(int).tolist(),
                "confidence": _quotients(total[:, CONFIDENCE], total[:, COUNT]),
                "accuracy": _quotients(total[:, CORRECT], total[:, COUNT]),
            },
        }
    return {
        "classes": classes,
        "nll": as_json(bootstrap_interval(nll, seed=seed)),
        "definition": "ece: of all cases together, over the voxels that are given the structure, by bins of equal "
        "width of its probability; 95 % basic bootstrap interval over the n cases with such voxels, which takes off "
        "the bias of a mean of distances, cut at 0. ace: the same with each bin that has voxels weighing alike. brier: "
        "mean over all voxels of a case, then over cases; 95 % percentile bootstrap interval. nll: - ln(probability of "
        f"the true class), at least {LEAST_PROBABILITY:g}, of all classes with the background; mean and interval as of "
        "brier",
    }


def _error_interval(error: Callable[[np.ndarray], float], cases: np.ndarray, seed: int) -> Interval:
    """Error of all cases together, [cases, num_bins, 3], with a bootstrap interval over those with voxels."""
    cases = cases[cases[:, :, COUNT].sum(axis=1) > 0]
    value = error(cases.sum(axis=0))
    if len(cases) < 2:
        return Interval(value, math.nan, math.nan, len(cases))
    interval = bootstrap(
        (np.arange(len(cases)),),
        lambda chosen: error(cases[chosen].sum(axis=0)),
        vectorized=False,
        n_resamples=1999,
        method="basic",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, max(float(interval.low), 0.0), max(float(interval.high), 0.0), len(cases))


def _quotients(values: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(value / count) if count else None for value, count in zip(values, counts, strict=True)]
