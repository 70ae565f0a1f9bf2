"""The parts that a saved LatentSegmenter may name, by their classes; one part more is one entry more here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leaf_seg.diffusion.sampling import Ddim, OneStep, Sampler
from leaf_seg.networks.class_masks import ClassMasksCodec
from leaf_seg.networks.latent_mapper import build_latent_mapper
from leaf_seg.networks.latents import LatentDecoder, LatentEncoder, LatentPart
from leaf_seg.networks.mask_codec import Codec, MaskCodec
from leaf_seg.networks.one_hot_codec import OneHotCodec
from leaf_seg.networks.one_hot_pixel_codec import OneHotPixelCodec
from leaf_seg.networks.pixels import Pixels
from leaf_seg.networks.unet import build_unet
from leaf_seg.runtime.described import CLASS_KEY, as_mapping, described_class

CODECS: dict[str, type[Codec]] = {
    "MaskCodec": MaskCodec,
    "OneHotCodec": OneHotCodec,
    "ClassMasksCodec": ClassMasksCodec,
    "OneHotPixelCodec": OneHotPixelCodec,
}
SAMPLERS: dict[str, type[Sampler]] = {"OneStep": OneStep, "Ddim": Ddim}
IMAGE_ENCODERS: dict[str, type[LatentPart]] = {"LatentEncoder": LatentEncoder, "Pixels": Pixels}
MASK_DECODERS: dict[str, type[LatentPart]] = {"LatentDecoder": LatentDecoder, "Pixels": Pixels}
# Functions, or classes, of what unet_description says.
UNETS: dict[str, Any] = {"UNet2DModel": build_unet, "LatentMapper": build_latent_mapper}


def build_denoiser(description: Mapping[str, Any]) -> Any:
    """What stands in the U-Net's place; a description that names no class is a UNet2DModel's.

    It takes its description whole.

    Raises:
        InputError: When the class is none of :data:`UNETS`, or the description is unfit.
    """
    name = described_class({CLASS_KEY: "UNet2DModel", **as_mapping(description)}, UNETS)
    return UNETS[name](description)
