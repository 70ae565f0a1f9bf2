"""Inference: from images of any size to label maps in their grid."""

from leaf_seg.inference.inferers import (
    AutocastInferer,
    HypothesisMaps,
    RoundTripInferer,
    SegmentationInferer,
    inferer_for,
)
from leaf_seg.inference.segmentation_writer import SegmentationWriter

__all__ = [
    "AutocastInferer",
    "HypothesisMaps",
    "RoundTripInferer",
    "SegmentationInferer",
    "SegmentationWriter",
    "inferer_for",
]
