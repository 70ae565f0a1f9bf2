"""Data: cases and their split, training slices, phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaf_seg.data.autoencoder_images import AutoencoderImages, PhantomSlices
from leaf_seg.data.case_store import CaseStore, case_store
from leaf_seg.data.checks import check_cases, check_mirrored
from leaf_seg.data.datalists import Datalist, class_names, given_cases, load_datalist, split_cases
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.data.phantom_data_set import make_phantoms
from leaf_seg.data.phantoms import phantom
from leaf_seg.data.rater_cases import have_raters, hypotheses_wanted, with_targets
from leaf_seg.data.rater_target import rater_target
from leaf_seg.data.shards import CaseShard, SliceShard
from leaf_seg.data.slice_dataset import SliceDataset, SliceSampler
from leaf_seg.data.tile_dataset import TileDataset, training_slices
from leaf_seg.moved import names_of

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)

__all__ = [
    "AutoencoderImages",
    "CaseShard",
    "CaseStore",
    "Datalist",
    "ModelSettings",
    "PhantomSlices",
    "SliceDataset",
    "SliceSampler",
    "SliceShard",
    "TileDataset",
    "case_store",
    "check_cases",
    "check_mirrored",
    "class_names",
    "given_cases",
    "have_raters",
    "hypotheses_wanted",
    "load_datalist",
    "make_phantoms",
    "phantom",
    "rater_target",
    "split_cases",
    "training_slices",
    "with_targets",
]
