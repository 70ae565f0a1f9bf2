"""Data: cases and their split, training slices, phantoms."""

from __future__ import annotations

from leaf_seg.data.autoencoder_images import AutoencoderImages, PhantomSlices
from leaf_seg.data.checks import check_cases
from leaf_seg.data.datalists import Datalist, class_names, given_cases, load_datalist, split_cases
from leaf_seg.data.files import list_images
from leaf_seg.data.phantoms import make_phantoms, phantom
from leaf_seg.data.slice_dataset import SliceDataset, SliceSampler

__all__ = [
    "AutoencoderImages",
    "Datalist",
    "PhantomSlices",
    "SliceDataset",
    "SliceSampler",
    "check_cases",
    "class_names",
    "given_cases",
    "list_images",
    "load_datalist",
    "make_phantoms",
    "phantom",
    "split_cases",
]
