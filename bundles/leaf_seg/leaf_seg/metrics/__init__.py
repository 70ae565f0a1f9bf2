"""Metrics of segmentations and their summaries over cases."""

from typing import TYPE_CHECKING

from leaf_seg.runtime.lazy import names_from

if TYPE_CHECKING:
    from leaf_seg.metrics.calibration import (
        average_calibration_error,
        brier_scores,
        expected_calibration_error,
        negative_log_likelihood,
        reliability_bins,
        summarize_calibration,
    )
    from leaf_seg.metrics.comparison import compare, paired_comparison, paired_difference
    from leaf_seg.metrics.conformal import conformal_margin, share_interval, size_error, size_interval
    from leaf_seg.metrics.conventions import CONVENTIONS, METRICS, RATER_CONVENTIONS, RATER_METRICS
    from leaf_seg.metrics.expected_dice import ExpectedDice
    from leaf_seg.metrics.foreground import ForegroundCounts, ForegroundDice, count_foreground, has_classes
    from leaf_seg.metrics.hypotheses import Agreement, agreement
    from leaf_seg.metrics.lesions import LESION_CONVENTIONS, LESION_METRICS, LesionCounts, count_lesions
    from leaf_seg.metrics.look_at import LookAt, choose_threshold, count_flagged
    from leaf_seg.metrics.ranked_probability import crps
    from leaf_seg.metrics.ranking import rank_correlation
    from leaf_seg.metrics.raters import Ambiguity, ambiguity, ambiguity_metrics
    from leaf_seg.metrics.risk_coverage import risk_coverage, risk_curve
    from leaf_seg.metrics.segmentation import case_metrics, diagonal
    from leaf_seg.metrics.similarity import mask_similarity, summarize_similarity
    from leaf_seg.metrics.stability import class_dice, noise_stability
    from leaf_seg.metrics.structures import Structure, describe_structures
    from leaf_seg.metrics.summary import Interval, bootstrap_interval, summarize
else:
    __getattr__ = names_from(
        __name__,
        {
            "calibration": (
                "average_calibration_error",
                "brier_scores",
                "expected_calibration_error",
                "negative_log_likelihood",
                "reliability_bins",
                "summarize_calibration",
            ),
            "comparison": ("compare", "paired_comparison", "paired_difference"),
            "conformal": ("conformal_margin", "share_interval", "size_error", "size_interval"),
            "conventions": ("CONVENTIONS", "METRICS", "RATER_CONVENTIONS", "RATER_METRICS"),
            "expected_dice": ("ExpectedDice",),
            "foreground": ("ForegroundCounts", "ForegroundDice", "count_foreground", "has_classes"),
            "hypotheses": ("Agreement", "agreement"),
            "lesions": ("LESION_CONVENTIONS", "LESION_METRICS", "LesionCounts", "count_lesions"),
            "look_at": ("LookAt", "choose_threshold", "count_flagged"),
            "ranked_probability": ("crps",),
            "ranking": ("rank_correlation",),
            "raters": ("Ambiguity", "ambiguity", "ambiguity_metrics"),
            "risk_coverage": ("risk_coverage", "risk_curve"),
            "segmentation": ("case_metrics", "diagonal"),
            "similarity": ("mask_similarity", "summarize_similarity"),
            "stability": ("class_dice", "noise_stability"),
            "structures": ("Structure", "describe_structures"),
            "summary": ("Interval", "bootstrap_interval", "summarize"),
        },
    )

__all__ = [
    "CONVENTIONS",
    "LESION_CONVENTIONS",
    "LESION_METRICS",
    "METRICS",
    "RATER_CONVENTIONS",
    "RATER_METRICS",
    "Agreement",
    "Ambiguity",
    "ExpectedDice",
    "ForegroundCounts",
    "ForegroundDice",
    "Interval",
    "LesionCounts",
    "LookAt",
    "Structure",
    "agreement",
    "ambiguity",
    "ambiguity_metrics",
    "average_calibration_error",
    "bootstrap_interval",
    "brier_scores",
    "case_metrics",
    "choose_threshold",
    "class_dice",
    "compare",
    "conformal_margin",
    "count_flagged",
    "count_foreground",
    "count_lesions",
    "crps",
    "describe_structures",
    "diagonal",
    "expected_calibration_error",
    "has_classes",
    "mask_similarity",
    "negative_log_likelihood",
    "noise_stability",
    "paired_comparison",
    "paired_difference",
    "rank_correlation",
    "reliability_bins",
    "risk_coverage",
    "risk_curve",
    "share_interval",
    "size_error",
    "size_interval",
    "summarize",
    "summarize_calibration",
    "summarize_similarity",
]
