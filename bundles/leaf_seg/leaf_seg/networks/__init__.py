"""Networks: autoencoder, U-Net, mask codec and the LatentSegmenter that joins them."""

from leaf_seg.networks.autoencoder import initial_autoencoder, load_autoencoder
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.mask_codec import MaskCodec
from leaf_seg.networks.mask_encoder import MaskEncoder
from leaf_seg.networks.unet import build_conditional_unet, build_unet

__all__ = [
    "LatentSegmenter",
    "MaskCodec",
    "MaskEncoder",
    "build_conditional_unet",
    "build_unet",
    "initial_autoencoder",
    "load_autoencoder",
]
