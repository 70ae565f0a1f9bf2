"""Networks: autoencoder, U-Net, mask codec, the LatentSegmenter that joins them, and baselines."""

from typing import TYPE_CHECKING

from leaf_seg.moved import names_of
from leaf_seg.networks.autoencoder import initial_autoencoder, load_autoencoder
from leaf_seg.networks.basic_unet import BasicUNetSegmenter
from leaf_seg.networks.class_masks import ClassMasksCodec
from leaf_seg.networks.class_pass_segmenter import ClassPassSegmenter
from leaf_seg.networks.drawn_class import DrawnClass
from leaf_seg.networks.dynunet import DynUNetSegmenter
from leaf_seg.networks.feature_cache import CachedNetwork, FeatureCache
from leaf_seg.networks.for_training import placed, ready_to_train
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.latents import LatentDecoder, LatentEncoder, LatentPart
from leaf_seg.networks.mask_codec import Codec, MaskCodec
from leaf_seg.networks.mask_encoder import MaskEncoder
from leaf_seg.networks.one_hot_codec import OneHotCodec
from leaf_seg.networks.one_hot_pixel_codec import OneHotPixelCodec
from leaf_seg.networks.pixels import PixelMaskEncoder, Pixels
from leaf_seg.networks.probabilistic_unet import ProbabilisticUNetSegmenter
from leaf_seg.networks.registry import NETWORKS, SavedNetwork
from leaf_seg.networks.segresnet import SegResNetSegmenter
from leaf_seg.networks.swin_unet import SwinUNetSegmenter
from leaf_seg.networks.transunet import TransUNetSegmenter
from leaf_seg.networks.unet import build_conditional_unet, build_unet

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)

__all__ = [
    "NETWORKS",
    "BasicUNetSegmenter",
    "CachedNetwork",
    "ClassMasksCodec",
    "ClassPassSegmenter",
    "Codec",
    "DrawnClass",
    "DynUNetSegmenter",
    "FeatureCache",
    "LatentDecoder",
    "LatentEncoder",
    "LatentPart",
    "LatentSegmenter",
    "MaskCodec",
    "MaskEncoder",
    "OneHotCodec",
    "OneHotPixelCodec",
    "PixelMaskEncoder",
    "Pixels",
    "ProbabilisticUNetSegmenter",
    "SavedNetwork",
    "SegResNetSegmenter",
    "SwinUNetSegmenter",
    "TransUNetSegmenter",
    "build_conditional_unet",
    "build_unet",
    "initial_autoencoder",
    "load_autoencoder",
    "placed",
    "ready_to_train",
]
