"""The teacher: a frozen vision encoder that turns an image into patch tokens."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    CLIPVisionModel,
    Dinov2Model,
    Dinov2WithRegistersModel,
    ImageProcessingMixin,
    PreTrainedModel,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import first_line
from leaf_seg.weights.dinov2 import dinov2_from_original, is_original_dinov2
from leaf_seg.weights.tensor_file import read_tensors

logger = logging.getLogger(__name__)

# A CLIP checkpoint that also holds the text encoder is of type "clip"; only its vision encoder is loaded.
MODEL_CLASSES: dict[str, type[PreTrainedModel]] = {
    "dinov2": Dinov2Model,
    "dinov2_with_registers": Dinov2WithRegistersModel,
    "clip": CLIPVisionModel,
    "clip_vision_model": CLIPVisionModel,
}


class Teacher(nn.Module):
    """Frozen vision encoder f: image [B, 3, H, W] in [0, 1] -> patch tokens [B, L, D], fp32.

    The tokens come after the encoder's final norm, row by row, without the class token and the registers. The encoder
    has no gradient, stays in evaluation mode and runs in fp32, with autocast on as well.

    Differs from the published code: the image is resized with anti-aliasing and clipped to [0, 1], as the encoders'
    own preprocessing does, where the code interpolates without.

    Args:
        model: ``Dinov2Model``, ``Dinov2WithRegistersModel`` or ``CLIPVisionModel``; it is frozen, and DINOv2's position
            embeddings are resampled by :func:`resample_positions`.
        mean: of the three channels, in [0, 1], that the encoder was trained with.
        std: likewise.
        image_size: side of the encoder's square input, in pixels; the image is resized to it.

    Attributes:
        grid: (h, w) of the patch tokens, L = h * w.
        embed_dim: D.

    Raises:
        InputError: When ``image_size`` is not a multiple of the patch size.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, model: PreTrainedModel, mean: Sequence[float], std: Sequence[float], image_size: int = 224
    ) -> None:
        super().__init__()
        patch_size = model.config.patch_size
        if image_size % patch_size:
            raise InputError(
                f"The teacher's image_size is {image_size}; expected a multiple of its patch size, {patch_size}: "
                f"use {max(1, round(image_size / patch_size)) * patch_size}."
            )
        self.model = model.float().eval().requires_grad_(False)
        if not isinstance(model, CLIPVisionModel):
            resample_positions(model, image_size)
        self.image_size = image_size
        self.grid = (image_size // patch_size, image_size // patch_size)
        self.embed_dim: int = model.config.hidden_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that say, with the weights, what it computes."""
        model: dict[str, Any] = json.loads(self.model.config.to_json_string(use_diff=False))
        model.pop("_name_or_path", None)  # where it was found
        attention = self.model.config._attn_implementation
        return {"class": type(self.model).__name__, "model": model, "attention": attention, "size": self.image_size}

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode whatever ``mode`` is: the teacher is frozen."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Patch tokens [B, L, D] of an image [B, 3, H, W] in [0, 1]."""
        with torch.autocast(image.device.type, enabled=False):
            size = (self.image_size, self.image_size)
            pixels = functional.interpolate(image.float(), size, mode="bicubic", antialias=True)  # [B, 3, S, S]
            pixels = (pixels.clamp(0, 1) - self.mean) / self.std  # bicubic overshoots at edges
            return self._patch_tokens(pixels)

    def _patch_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normed patch tokens [B, L, D] of normalised pixels [B, 3, S, S]."""
        num_patches = self.grid[0] * self.grid[1]
        if not isinstance(self.model, CLIPVisionModel):
            return self.model(pixel_values=pixels).last_hidden_state[:, -num_patches:]  # patches come last
        # CLIP norms its class token only, and needs telling that the input may differ from its training size.
        tokens = self.model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[:, -num_patches:]
        vision_model = getattr(self.model, "vision_model", self.model)  # nested before transformers 5
        return vision_model.post_layernorm(tokens)


@torch.no_grad()
def resample_positions(model: Dinov2Model | Dinov2WithRegistersModel, image_size: int) -> None:
    """Resample a DINOv2's position embeddings in place to the token grid of square images of one size.

    Bicubic with anti-aliasing, in fp32; the class token's entry stays. The model then uses them as they are.

    Differs from Meta's code and from transformers where the model has no registers: these resample without
    anti-aliasing. The published code of LEAF trains with it for all models.

    Args:
        model: changed in place, with its config.
        image_size: in pixels, a multiple of the patch size.
    """
    positions = model.embeddings.position_embeddings  # [1, 1 + n * n, D]
    old_side = math.isqrt(positions.shape[1] - 1)
    side = image_size // model.config.patch_size
    if side != old_side:
        grid = positions[:, 1:].float().unflatten(1, (old_side, old_side)).permute(0, 3, 1, 2)  # [1, D, n, n]
        grid = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False, antialias=True)
        patches = grid.flatten(2).transpose(1, 2).to(positions.dtype)  # [1, side * side, D]
        resampled = torch.cat([positions[:, :1], patches], dim=1)
        model.embeddings.position_embeddings = nn.Parameter(resampled, requires_grad=positions.requires_grad)
    model.config.image_size = image_size


def load_teacher(name_or_folder: str | os.PathLike[str], image_size: int = 224) -> Teacher:
    """Load a teacher: from a local file or folder, else from the Hugging Face cache, else from the hub.

    Args:
        name_or_folder: folder written by ``save_pretrained``, or hub name such as ``facebook/dinov2-small``; DINOv2,
            DINOv2 with registers or CLIP. Or a file in the layout of DINOv2's authors, such as
            ``dinov2_vitb14_reg4_pretrain.pth``, or the same as safetensors.
        image_size: side of the encoder's input, in pixels.

    Returns:
        The frozen teacher, on the CPU, with the mean and std of its ``preprocessor_config.json``; without that file
        those of its family.

    Raises:
        InputError: When it is found in none of these places, is of another kind, or lacks weights.
    """
    name = os.fspath(name_or_folder)
    if os.path.isfile(name):
        return _load_original(name, image_size)
    is_folder = os.path.isdir(name)
    cache = f"Hugging Face cache ({constants.HF_HUB_CACHE})"
    places = [("local folder", True)] if is_folder else [(cache, True), ("Hugging Face hub", False)]
    reason = ""
    for place, local_files_only in places:
        logger.info("Looking for the teacher %s in the %s.", name, place)
        try:
            teacher = _load(name, image_size, local_files_only)
        except OSError as error:  # what transformers raises for a file that is not there
            reason = first_line(error)
        else:
            logger.info("Teacher %s loaded from the %s.", name, place)
            return teacher
    if is_folder:
        raise _cannot_load(name, reason)
    raise InputError(
        f"No teacher {name!r}: it is not a local folder or file, not in the {cache}, and the hub did not give it "
        f"({reason}). Give the folder or hub name of a DINOv2 or CLIP model, or the file of a DINOv2, download it to "
        "the cache beforehand, or train without a teacher: --alignment_weight 0."
    )


def _load_original(file: str, image_size: int) -> Teacher:
    """Load a DINOv2 from a file in its authors' layout."""
    state = read_tensors(file)
    if not is_original_dinov2(state):
        raise _cannot_load(file, "it is a file, and no DINOv2 in its authors' layout")
    try:
        model = dinov2_from_original(state)
    except InputError as error:
        raise InputError(f"The teacher {file} cannot be loaded. {error}") from error
    logger.info("Teacher %s loaded, a DINOv2 in its authors' layout.", file)
    return Teacher(model, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, image_size)


def _load(name: str, image_size: int, local_files_only: bool) -> Teacher:
    """Load config, weights and normalisation; OSError when a file needed is not in the place looked at."""
    try:
        model_type = AutoConfig.from_pretrained(name, local_files_only=local_files_only).model_type
    except ValueError as error:  # a kind of model that transformers does not know
        raise _cannot_load(name, first_line(error)) from error
    if model_type not in MODEL_CLASSES:
        raise _cannot_load(name, f"it is a {model_type!r} model")
    try:
        model, info = MODEL_CLASSES[model_type].from_pretrained(
            name, local_files_only=local_files_only, output_loading_info=True
        )
    except (RuntimeError, SafetensorError) as error:  # damaged weights, or of other sizes than config.json says
        raise _cannot_load(name, first_line(error)) from error
    if info["missing_keys"]:  # transformers would go on with random weights
        raise _cannot_load(name, f"weights are missing: {', '.join(sorted(info['missing_keys'])[:3])}")
    mean, std = _normalization(name, model_type, local_files_only)
    return Teacher(model, mean, std, image_size)


def _cannot_load(name: str, reason: str) -> InputError:
    """The error for a teacher that is there and cannot be used."""
    return InputError(
        f"The teacher {name} cannot be loaded ({reason}); expected a folder of config.json and complete weights, as "
        f"save_pretrained writes them, of one of the kinds {', '.join(MODEL_CLASSES)}, or a DINOv2 file as its authors "
        "publish it, such as dinov2_vitb14_reg4_pretrain.pth. Choose another, for example facebook/dinov2-small, or "
        "train without a teacher: --alignment_weight 0."
    )


def _normalization(name: str, model_type: str, local_files_only: bool) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std that the encoder was trained with; CLIP's differ from ImageNet's."""
    try:
        config, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=local_files_only)
        return config["image_mean"], config["image_std"]
    except (OSError, KeyError):
        logger.warning("Teacher %s has no mean and std in a preprocessor_config.json: using its family's.", name)
    if model_type.startswith("clip"):
        return OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
