"""DINOv2 in the layout of its authors' files (torch.hub), as a model of transformers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from functools import partial

import torch
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.assembly import SourceKey, assemble

HEAD_DIM = 64  # of all published sizes

# Of transformers' names, in this order.
_RENAMED = (
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("attention.o_proj.", "attn.proj."),
    ("attention.output.dense.", "attn.proj."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("mlp.weights_in.", "mlp.w12."),
    ("mlp.weights_out.", "mlp.w3."),
    ("mlp.down_proj.", "mlp.w3."),
    ("layernorm.", "norm."),
)

# transformers' name, where it is one of several parts of an original tensor: original name, which part, of how many.
_PARTS = {
    "attention.q_proj.": ("attn.qkv.", 0, 3),
    "attention.k_proj.": ("attn.qkv.", 1, 3),
    "attention.v_proj.": ("attn.qkv.", 2, 3),
    "mlp.gate_proj.": ("mlp.w12.", 0, 2),
    "mlp.up_proj.": ("mlp.w12.", 1, 2),
    # Before transformers 5.
    "attention.attention.query.": ("attn.qkv.", 0, 3),
    "attention.attention.key.": ("attn.qkv.", 1, 3),
    "attention.attention.value.": ("attn.qkv.", 2, 3),
}


def is_original_dinov2(keys: Collection[str]) -> bool:
    """Whether a state dictionary with these keys is a DINOv2 in its authors' layout."""
    return {"cls_token", "pos_embed", "blocks.0.attn.qkv.weight"} <= set(keys)


def dinov2_from_original(state: Mapping[str, torch.Tensor]) -> Dinov2Model | Dinov2WithRegistersModel:
    """Build DINOv2 (S, B, L, g or another size with heads of 64) from a state dictionary in its authors' layout.

    Args:
        state: as the files ``dinov2_vitb14_pretrain.pth``, ``dinov2_vitb14_reg4_pretrain.pth`` etc. hold it.

    Returns:
        The model in evaluation mode, in the dtype of the state and sharing its memory.

    Raises:
        InputError: When the width is not a multiple of 64, or keys are missing, left over or of another shape.
    """
    config = _config(state)
    num_registers = getattr(config, "num_register_tokens", 0)
    with torch.device("meta"):
        model = (Dinov2WithRegistersModel if num_registers else Dinov2Model)(config)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    what = (
        f"DINOv2 in its authors' layout ({config.num_hidden_layers} layers of width {config.hidden_size}, "
        f"{num_registers} registers)"
    )
    model.load_state_dict(assemble(state, shapes, _source_of, what), assign=True)
    return model.eval()


def _config(state: Mapping[str, torch.Tensor]) -> Dinov2Config | Dinov2WithRegistersConfig:
    """Sizes of the model; where the tensor that shows one is missing, any: :func:`assemble` will say so."""
    width = _size(state, "pos_embed", 2)
    if not width or width % HEAD_DIM:
        raise InputError(
            f"The weights were recognised as DINOv2 in its authors' layout, with pos_embed of the shape "
            f"{tuple(state['pos_embed'].shape)}; expected [1, tokens, width], width a multiple of {HEAD_DIM}."
        )
    patch_size = _size(state, "patch_embed.proj.weight", 3) or 14
    grid_side = math.isqrt(max(0, _size(state, "pos_embed", 1) - 1))  # without the class token
    block_numbers = [int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))]
    is_swiglu = any(".mlp.w12." in key for key in state)
    if is_swiglu:  # twice two thirds of ratio * width, rounded up to a multiple of 8
        mlp_ratio = round(0.75 * _size(state, "blocks.0.mlp.w12.weight", 0) / width)
    else:
        mlp_ratio = _size(state, "blocks.0.mlp.fc1.weight", 0) // width
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": max(block_numbers) + 1,
        "num_attention_heads": width // HEAD_DIM,
        "mlp_ratio": mlp_ratio or 4,
        "use_swiglu_ffn": is_swiglu,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "patch_size": patch_size,
        "image_size": grid_side * patch_size,
    }
    num_registers = _size(state, "register_tokens", 1)
    if num_registers:
        return Dinov2WithRegistersConfig(**sizes, num_register_tokens=num_registers)
    return Dinov2Config(**sizes)


def _size(state: Mapping[str, torch.Tensor], key: str, dim: int) -> int:
    """Size of a tensor's dimension, 0 where there is none."""
    shape = state[key].shape if key in state else ()
    return shape[dim] if dim < len(shape) else 0


def _source_of(name: str) -> SourceKey:
    """Where the tensor of a transformers name is in the authors' layout."""
    for part, (whole, index, number) in _PARTS.items():
        if part in name:
            return SourceKey(_renamed(name.replace(part, whole)), partial(_chunk, index=index, number=number))
    return SourceKey(_renamed(name))


def _chunk(tensor: torch.Tensor, index: int, number: int) -> torch.Tensor:
    """One of a number of equal parts."""
    return tensor.chunk(number)[index]


def _renamed(name: str) -> str:
    for part, original in _RENAMED:
        name = name.replace(part, original)
    return name
