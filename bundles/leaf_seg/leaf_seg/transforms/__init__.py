"""Transforms: loading, checking, scaling and mirroring cases, and label maps for MONAI Label."""

import warnings
from typing import TYPE_CHECKING

from leaf_seg.moved import names_of
from leaf_seg.transforms.batch_augmentation import BatchAugmentation, BatchTransform
from leaf_seg.transforms.batch_transforms import BatchAffine, BatchGamma, BatchIntensity, BatchMirror, BatchNoise
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.label_map import ToLabelMap
from leaf_seg.transforms.label_values import LabelValues
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.mask_value import MaskValue
from leaf_seg.transforms.mirror import RandMirror
from leaf_seg.transforms.preprocessing import postprocessing, preprocessing
from leaf_seg.transforms.scale_image import ScaleImage

# Configs hand pictures and volumes alike to MONAI's Orientationd, which leaves a picture as it is, but not silently.
warnings.filterwarnings("ignore", message="axcodes .* length is smaller than number of input spatial dimensions")

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)

__all__ = [
    "BatchAffine",
    "BatchAugmentation",
    "BatchGamma",
    "BatchIntensity",
    "BatchMirror",
    "BatchNoise",
    "BatchTransform",
    "CheckPair",
    "LabelValues",
    "LoadCase",
    "MaskValue",
    "RandMirror",
    "ScaleImage",
    "ToLabelMap",
    "postprocessing",
    "preprocessing",
]
