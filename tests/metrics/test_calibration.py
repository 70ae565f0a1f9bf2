"""Calibration against scikit-learn's, which works voxel by voxel, and against hand-made cases."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from leaf_seg.metrics import (
    average_calibration_error,
    brier_scores,
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    summarize_calibration,
)
from leaf_seg.metrics.calibration import CONFIDENCE, CORRECT, COUNT


def random_case(seed: int, sharpness: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [3, 6, 7, 8] and label [6, 7, 8] that agree with them somewhat."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 6, 7, 8, generator=generator)
    label = (logits + torch.randn(3, 6, 7, 8, generator=generator)).argmax(dim=0)
    return (sharpness * logits).softmax(dim=0), label


@pytest.mark.parametrize("num_bins", [5, 15])
def test_bins_are_those_of_scikit_learn(num_bins: int) -> None:
    probabilities, label = random_case(0)
    bins = reliability_bins(probabilities, label, num_bins)
    given = probabilities.argmax(dim=0)
    for k in range(3):
        here = given == k
        right = (label[here] == k).numpy()
        confidence = probabilities[k][here].numpy()
        accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=num_bins, strategy="uniform")
        filled = bins[k][bins[k][:, COUNT] > 0]
        np.testing.assert_allclose(filled[:, CORRECT] / filled[:, COUNT], accuracy)
        np.testing.assert_allclose(filled[:, CONFIDENCE] / filled[:, COUNT], mean_confidence, rtol=1e-6)
        assert bins[k][:, COUNT].sum() == here.sum()
        weights = filled[:, COUNT] / filled[:, COUNT].sum()
        expected = float((weights * np.abs(accuracy - mean_confidence)).sum())
        assert expected_calibration_error(bins[k]) == pytest.approx(expected, rel=1e-6)
        assert expected > 0.01


@pytest.mark.parametrize(
    ("reduction", "error"), [("expected", expected_calibration_error), ("average", average_calibration_error)]
)
def test_errors_are_those_of_monai(reduction: str, error: Callable[[np.ndarray], float]) -> None:
    """Where every voxel is given class 1, all of its probabilities count, as they do in MONAI's."""
    foreground = 0.5 + 0.5 * torch.rand(30, 40)
    label = (torch.rand(30, 40) < foreground**3).long()
    probabilities = torch.stack([1 - foreground, foreground])
    metric = CalibrationErrorMetric(num_bins=20, include_background=False, calibration_reduction=reduction)
    metric(probabilities[None], torch.stack([1 - label, label])[None])
    expected = float(torch.as_tensor(metric.aggregate()))
    assert error(reliability_bins(probabilities, label, 20)[1]) == pytest.approx(expected, rel=1e-5)
    assert expected > 0.05


def test_likelihood_is_that_of_scikit_learn() -> None:
    probabilities, label = random_case(1)
    expected = log_loss(label.numpy().ravel(), probabilities.flatten(1).T.double().numpy(), labels=[0, 1, 2])
    assert negative_log_likelihood(probabilities, label) == pytest.approx(expected, rel=1e-5)
    certain = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert negative_log_likelihood(certain, np.array([0, 1])) == pytest.approx(-math.log(1e-6) / 2)


def test_brier_scores_are_those_of_scikit_learn() -> None:
    probabilities, label = random_case(1)
    expected = [brier_score_loss((label == k).numpy().ravel(), probabilities[k].numpy().ravel()) for k in range(3)]
    np.testing.assert_allclose(brier_scores(probabilities, label), expected, rtol=1e-5)


def test_calibrated_by_construction() -> None:
    """Ten voxels given class 1 with 0.8, of which eight are right."""
    probabilities = np.tile(np.array([[0.2], [0.8]]), (1, 10))
    label = np.array([1] * 8 + [0] * 2)
    bins = reliability_bins(probabilities, label)
    assert expected_calibration_error(bins[1]) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(reliability_bins(probabilities, np.ones(10, int))[1]) == pytest.approx(0.2)
    assert math.isnan(expected_calibration_error(bins[0]))  # no voxel is given the background


def test_upper_end_of_a_bin_belongs_to_it() -> None:
    probabilities = np.array([[0.0, 0.4], [1.0, 0.6]])
    bins = reliability_bins(probabilities, np.array([1, 1]), num_bins=5)
    assert bins[1][:, COUNT].tolist() == [0, 0, 1, 0, 1]


def test_summary() -> None:
    cases = [random_case(seed) for seed in range(5)]
    bins = [reliability_bins(*case) for case in cases]
    brier = [brier_scores(*case) for case in cases]
    nll = [negative_log_likelihood(*case) for case in cases]
    summary = json.loads(json.dumps(summarize_calibration(bins, brier, nll, ["background", "a", "b"]), allow_nan=False))
    assert summary["nll"]["mean"] == pytest.approx(np.mean(nll))
    assert summary["nll"]["low"] < summary["nll"]["mean"] < summary["nll"]["high"]
    assert list(summary["classes"]) == ["a", "b"]
    together = reliability_bins(
        torch.cat([p.flatten(1) for p, _ in cases], dim=1), torch.cat([t.flatten() for _, t in cases])
    )
    for k, name in enumerate(("a", "b"), start=1):
        result = summary["classes"][name]
        assert result["ece"]["mean"] == pytest.approx(expected_calibration_error(together[k]))
        assert result["ace"]["mean"] == pytest.approx(average_calibration_error(together[k]))
        assert 0 <= result["ece"]["low"] < result["ece"]["high"]
        assert result["ece"]["low"] <= result["ece"]["mean"] <= result["ece"]["high"]
        assert result["ece"]["n"] == 5
        assert result["brier"]["mean"] == pytest.approx(np.mean([case[k] for case in brier]))
        assert sum(result["bins"]["count"]) == sum(int((p.argmax(dim=0) == k).sum()) for p, _ in cases)


def test_structure_that_is_never_given() -> None:
    probabilities = np.array([[0.9, 0.8], [0.1, 0.2]])
    summary = summarize_calibration(
        [reliability_bins(probabilities, np.array([0, 1]))],
        [brier_scores(probabilities, np.array([0, 1]))],
        [negative_log_likelihood(probabilities, np.array([0, 1]))],
        ["no", "a"],
    )
    assert summary["classes"]["a"]["ece"]["mean"] is None
    assert summary["classes"]["a"]["ace"]["mean"] is None
    assert summary["classes"]["a"]["brier"]["mean"] == pytest.approx((0.01 + 0.64) / 2)


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        reliability_bins(torch.rand(2, 4, 4), torch.zeros(4, 5))


def test_structure_of_few_cases_has_an_interval_over_those() -> None:
    """Cases without a voxel of it would make some resamples undefined, and with them the interval."""
    cases = [random_case(seed) for seed in range(2)]
    cases += [(torch.tensor([0.8, 0.1, 0.1])[:, None].expand(3, 9), torch.zeros(9, dtype=torch.long))] * 18
    bins = [reliability_bins(*case) for case in cases]
    brier, nll = ([brier_scores(*case) for case in cases], [negative_log_likelihood(*case) for case in cases])
    ece = summarize_calibration(bins, brier, nll, ["no", "a", "b"])["classes"]["a"]["ece"]
    assert ece["n"] == 2
    assert ece["low"] is not None
