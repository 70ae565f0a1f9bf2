"""Which metrics of a summary go to MLflow."""

from __future__ import annotations

from typing import Any

from leaf_seg.tracking.mlflow_results import _means


def of(**means: float | None) -> dict[str, Any]:
    return {name: {"mean": mean, "low": None, "high": None, "n": 1} for name, mean in means.items()}


def test_means_of_all_that_was_measured() -> None:
    lesions = {**of(recall=0.5, pq=None), "counts": {"found": 1, "made_up": 0, "missed": 1}}
    summary = {
        "classes": {"a": of(dice=0.8)},
        "mean_foreground": of(dice=0.8),
        "calibration": {"classes": {"a": of(ece=0.1, ace=0.2, brier=0.05)}, **of(nll=0.7)},
        "raters": {"classes": {"a": of(ged=0.3)}, "mean_foreground": of(ged=0.4)},
        "lesions": {"classes": {"a": lesions}, "mean_foreground": of(recall=0.6, pq=None)},
    }
    assert _means(summary, "testing") == {
        "testing_dice_a": 0.8,
        "testing_dice_mean_foreground": 0.8,
        "testing_ece_a": 0.1,
        "testing_ace_a": 0.2,
        "testing_brier_a": 0.05,
        "testing_nll": 0.7,
        "testing_ged_a": 0.3,
        "testing_ged_mean_foreground": 0.4,
        "testing_lesion_recall_a": 0.5,
        "testing_lesion_recall_mean_foreground": 0.6,
    }


def test_a_summary_without_further_parts() -> None:
    assert _means({"classes": {"a": of(dice=0.8)}, "mean_foreground": of(dice=None)}, "x") == {"x_dice_a": 0.8}
