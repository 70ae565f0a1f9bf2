"""Metrics of segmentations and their summaries over cases."""

from leaf_seg.metrics.calibration import (
    brier_scores,
    expected_calibration_error,
    reliability_bins,
    summarize_calibration,
)
from leaf_seg.metrics.comparison import compare, paired_difference
from leaf_seg.metrics.hypotheses import Agreement, agreement
from leaf_seg.metrics.segmentation import CONVENTIONS, METRICS, case_metrics
from leaf_seg.metrics.stability import class_dice, noise_stability
from leaf_seg.metrics.structures import Structure, describe_structures
from leaf_seg.metrics.summary import Interval, bootstrap_interval, summarize

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
