"""Inference: from images of any size to label maps in their grid."""

from leaf_seg.inference.autocast_inferer import AutocastInferer
from leaf_seg.inference.inferers import Answers, RoundTripInferer, SegmentationInferer, inferer_for
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.inference.tolerant_dataset import TolerantDataset

__all__ = [
    "Answers",
    "AutocastInferer",
    "RoundTripInferer",
    "SegmentationInferer",
    "SegmentationWriter",
    "TolerantDataset",
    "inferer_for",
]
