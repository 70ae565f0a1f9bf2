"""The autoencoder of latent diffusion (LDM, kl-f8) as diffusers' AutoencoderKL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL

from leaf_seg.weights.assembly import SourceKey, State, assemble, building, last_number_after, shape_of

WHAT = "the autoencoder of LDM (kl-f8)"
SCALING_FACTOR = 0.18215  # of kl-f8, by LDM and LEAF; no file holds it

# In order: what stands on the left in diffusers' names, and LDM's name for it.
_RENAMED = (
    (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)


def is_ldm_autoencoder(keys: Collection[str]) -> bool:
    """Whether the names are those of LDM's autoencoder, encoder and decoder."""
    return {"encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight"} <= set(keys)


def ldm_autoencoder(
    source: Mapping[str, torch.Tensor],
    scaling_factor: float = SCALING_FACTOR,
    ignored: Collection[str] = (),
    what: str = WHAT,
) -> AutoencoderKL:
    """Build the AutoencoderKL that computes what LDM's autoencoder does.

    Args:
        source: state dictionary with LDM's names.
        scaling_factor: of the latent.
        ignored: beginnings of names that are no part of the network, such as ``loss.``.
        what: what the source was recognised as.

    Raises:
        InputError: When the weights are not exactly those of such an autoencoder.
    """
    with building(what):
        config = _config(source, scaling_factor, what)
        autoencoder = AutoencoderKL(**config)
    shapes = {name: tensor.shape for name, tensor in autoencoder.state_dict().items()}
    levels = len(config["block_out_channels"])
    state = assemble(source, shapes, lambda name: SourceKey(ldm_autoencoder_name(name, levels)), what, ignored)
    autoencoder.load_state_dict(state, assign=True)
    return autoencoder.eval()


def ldm_encoder_state(source: Mapping[str, torch.Tensor], autoencoder: AutoencoderKL, what: str) -> State:
    """State of the encoder, and of ``quant_conv`` if it is in the source, of an autoencoder like the one given.

    Args:
        source: state dictionary with LDM's names, without a decoder.
        autoencoder: gives names and shapes.
        what: what the source was recognised as.

    Raises:
        InputError: When the weights are not exactly those of the encoder.
    """
    shapes = {
        name: tensor.shape
        for name, tensor in autoencoder.state_dict().items()
        if name.startswith(("encoder.", "quant_conv."))
    }
    levels = len(autoencoder.config["block_out_channels"])
    return assemble(source, shapes, lambda name: SourceKey(ldm_autoencoder_name(name, levels)), what)


def ldm_autoencoder_name(name: str, num_levels: int) -> str:
    """LDM's name of a weight of AutoencoderKL; LDM counts the decoder's levels from the output."""
    level = re.match(r"decoder\.up_blocks\.(\d+)\.(.*)", name)
    if level:
        rest = level[2].replace("resnets.", "block.", 1).replace("upsamplers.0.", "upsample.", 1)
        name = f"decoder.up.{num_levels - 1 - int(level[1])}.{rest}"
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _config(source: Mapping[str, torch.Tensor], scaling_factor: float, what: str) -> dict[str, Any]:
    """Arguments of AutoencoderKL, read from the shapes."""
    levels = 1 + last_number_after(source, "encoder.down.")
    widths = [shape_of(source, f"encoder.down.{level}.block.0.conv1.weight", what, 4)[0] for level in range(levels)]
    return {
        "in_channels": shape_of(source, "encoder.conv_in.weight", what, 4)[1],
        "out_channels": shape_of(source, "decoder.conv_out.weight", what, 4)[0],
        "latent_channels": shape_of(source, "decoder.conv_in.weight", what, 4)[1],
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": 1 + last_number_after(source, "encoder.down.0.block."),
        "norm_num_groups": 32,
        "sample_size": 256,
        "scaling_factor": scaling_factor,
    }
