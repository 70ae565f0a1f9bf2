"""Networks: autoencoder, U-Net, mask codec, the LatentSegmenter that joins them, and baselines."""

from leaf_seg.networks.autoencoder import initial_autoencoder, load_autoencoder
from leaf_seg.networks.basic_unet import BasicUNetSegmenter
from leaf_seg.networks.dynunet import DynUNetSegmenter
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.mask_codec import MaskCodec
from leaf_seg.networks.mask_encoder import MaskEncoder
from leaf_seg.networks.registry import NETWORKS, SegmentationNetwork
from leaf_seg.networks.segresnet import SegResNetSegmenter
from leaf_seg.networks.unet import build_conditional_unet, build_unet

__all__ = [
    "NETWORKS",
    "BasicUNetSegmenter",
    "DynUNetSegmenter",
    "LatentSegmenter",
    "MaskCodec",
    "MaskEncoder",
    "SegResNetSegmenter",
    "SegmentationNetwork",
    "build_conditional_unet",
    "build_unet",
    "initial_autoencoder",
    "load_autoencoder",
]
