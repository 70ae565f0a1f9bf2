"""Inference: from images of any size to label maps in their grid."""

from leaf_seg.inference.inferers import (
    AutocastInferer,
    HypothesisMaps,
    RoundTripInferer,
    SegmentationInferer,
    inferer_for,
)

__all__ = ["AutocastInferer", "HypothesisMaps", "RoundTripInferer", "SegmentationInferer", "inferer_for"]
