"""Inference: from images of any size to label maps in their grid."""

from leaf_seg.inference.inferers import AutocastInferer, HypothesisMaps, RoundTripInferer, SegmentationInferer

__all__ = ["AutocastInferer", "HypothesisMaps", "RoundTripInferer", "SegmentationInferer"]
