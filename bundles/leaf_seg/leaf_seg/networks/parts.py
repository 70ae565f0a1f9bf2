"""The parts that a saved LatentSegmenter may name, by their classes; one part more is one entry more here."""

from __future__ import annotations

from typing import Any

from leaf_seg.diffusion.sampling import Ddim, OneStep, Sampler
from leaf_seg.networks.latents import LatentDecoder, LatentEncoder, LatentPart
from leaf_seg.networks.mask_codec import Codec, MaskCodec
from leaf_seg.networks.unet import build_unet

CODECS: dict[str, type[Codec]] = {"MaskCodec": MaskCodec}
SAMPLERS: dict[str, type[Sampler]] = {"OneStep": OneStep, "Ddim": Ddim}
IMAGE_ENCODERS: dict[str, type[LatentPart]] = {"LatentEncoder": LatentEncoder}
MASK_DECODERS: dict[str, type[LatentPart]] = {"LatentDecoder": LatentDecoder}
UNETS: dict[str, Any] = {"UNet2DModel": build_unet}  # functions, or classes, of what unet_description says
