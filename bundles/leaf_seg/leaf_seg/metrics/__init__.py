"""Metrics of segmentations and their summaries over cases."""

from typing import TYPE_CHECKING

from leaf_seg.runtime.lazy import names_from

if TYPE_CHECKING:
    from leaf_seg.metrics.calibration import (
        brier_scores,
        expected_calibration_error,
        reliability_bins,
        summarize_calibration,
    )
    from leaf_seg.metrics.comparison import compare, paired_difference
    from leaf_seg.metrics.conventions import CONVENTIONS, METRICS
    from leaf_seg.metrics.hypotheses import Agreement, agreement
    from leaf_seg.metrics.segmentation import case_metrics
    from leaf_seg.metrics.stability import class_dice, noise_stability
    from leaf_seg.metrics.structures import Structure, describe_structures
    from leaf_seg.metrics.summary import Interval, bootstrap_interval, summarize
else:
    __getattr__ = names_from(
        __name__,
        {
            "calibration": ("brier_scores", "expected_calibration_error", "reliability_bins", "summarize_calibration"),
            "comparison": ("compare", "paired_difference"),
            "conventions": ("CONVENTIONS", "METRICS"),
            "hypotheses": ("Agreement", "agreement"),
            "segmentation": ("case_metrics",),
            "stability": ("class_dice", "noise_stability"),
            "structures": ("Structure", "describe_structures"),
            "summary": ("Interval", "bootstrap_interval", "summarize"),
        },
    )

__all__ = [
    "CONVENTIONS",
    "METRICS",
    "Agreement",
    "Interval",
    "Structure",
    "agreement",
    "bootstrap_interval",
    "brier_scores",
    "case_metrics",
    "class_dice",
    "compare",
    "describe_structures",
    "expected_calibration_error",
    "noise_stability",
    "paired_difference",
    "reliability_bins",
    "summarize",
    "summarize_calibration",
]
