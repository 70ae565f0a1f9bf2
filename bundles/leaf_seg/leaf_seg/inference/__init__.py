"""Inference: from images of any size to label maps in their grid."""

from leaf_seg.inference.answers import Answers
from leaf_seg.inference.autocast_inferer import AutocastInferer
from leaf_seg.inference.inferers import RoundTripInferer, SegmentationInferer
from leaf_seg.inference.model_inferer import inferer_for
from leaf_seg.inference.network_for import fast_network, fitting_batch_size, network_for
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.inference.tensorrt_network import tensorrt_network
from leaf_seg.inference.thread_loader import ThreadLoader
from leaf_seg.inference.tile_inferer import TileInferer
from leaf_seg.inference.tolerant_dataset import TolerantDataset

__all__ = [
    "Answers",
    "AutocastInferer",
    "RoundTripInferer",
    "SegmentationInferer",
    "SegmentationWriter",
    "ThreadLoader",
    "TileInferer",
    "TolerantDataset",
    "fast_network",
    "fitting_batch_size",
    "inferer_for",
    "network_for",
    "tensorrt_network",
]
