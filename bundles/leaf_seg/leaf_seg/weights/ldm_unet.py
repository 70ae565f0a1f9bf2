"""The U-Net of latent diffusion (LDM, lsun_churches256; LEAF, SDSeg) as diffusers' UNet2DModel."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DModel

from leaf_seg.networks.unet import HEADS_KEY, build_unet
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.assembly import SourceKey, State, assemble, building, last_number_after, shape_of

WHAT = "the U-Net of LDM (lsun_churches256)"
NUM_HEADS = 8  # at every level, in the published networks; the weights do not tell
_LAYERS = 2  # residual blocks of a level

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def is_ldm_unet(keys: Collection[str]) -> bool:
    """Whether the names are those of LDM's U-Net, without a prefix."""
    return {"input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight", "time_embed.0.weight"} <= set(keys)


def ldm_unet(source: Mapping[str, torch.Tensor], num_heads: int = NUM_HEADS, what: str = WHAT) -> UNet2DModel:
    """Build the UNet2DModel that computes what LDM's U-Net does (scale-shift norm, resampling in residual blocks).

    Args:
        source: state dictionary with LDM's names.
        num_heads: of every attention.
        what: what the source was recognised as.

    Raises:
        InputError: When the weights are not exactly those of such a U-Net.
    """
    _check_kind(source, what)
    with building(what):
        unet = build_unet(_config(source, num_heads, what))
    unet.load_state_dict(_state(source, unet, num_heads, what), assign=True)
    return unet.eval()


def _state(source: Mapping[str, torch.Tensor], unet: UNet2DModel, num_heads: int, what: str) -> State:
    attended = [kind.startswith("Attn") for kind in unet.config["down_block_types"]]
    shapes = {name: tensor.shape for name, tensor in unet.state_dict().items()}
    return assemble(source, shapes, lambda name: ldm_unet_key(name, attended, num_heads), what)


def ldm_unet_key(name: str, attended: list[bool], num_heads: int) -> SourceKey:
    """Where LDM has a weight of UNet2DModel.

    Args:
        name: in diffusers.
        attended: for each level, outermost first, whether it has attention.
        num_heads: of every attention.
    """
    module, inner = _split(name)
    place = _OUTSIDE.get(module) or _place(module, attended)
    if inner.startswith(("to_q.", "to_k.", "to_v.")):  # one convolution of LDM, [heads, (q, k, v), d] x C
        return SourceKey(f"{place}.qkv.{inner[5:]}", partial(_part, "qkv".index(inner[3]), num_heads))
    inner = inner.replace("group_norm.", "norm.").replace("to_out.0.", "proj_out.")
    layer, _, kind = inner.rpartition(".")
    return SourceKey(".".join(part for part in (place, _RESNET.get(layer, layer), kind) if part))


def _split(name: str) -> tuple[str, str]:
    """The block's module and what is inside it: ``down_blocks.0.resnets.1`` and ``conv1.weight``."""
    pattern = r"((?:down|up)_blocks\.\d+\.\w+\.\d+|mid_block\.\w+\.\d+|time_embedding\.\w+|conv\w+)\.(.*)"
    match = re.fullmatch(pattern, name)
    assert match is not None, name
    return match[1], match[2]


def _place(module: str, attended: list[bool]) -> str:
    """LDM numbers the blocks through: ``down_blocks.1.resnets.0`` is ``input_blocks.4.0``."""
    side, level_text, part, index_text = module.split(".")
    level, index = int(level_text), int(index_text)
    if side == "down_blocks":
        block = 1 + (_LAYERS + 1) * level + (_LAYERS if part == "downsamplers" else index)
        return f"input_blocks.{block}.{int(part == 'attentions')}"
    block = (_LAYERS + 1) * level + (_LAYERS if part == "upsamplers" else index)
    has_attention = attended[len(attended) - 1 - level]
    position = {"resnets": 0, "attentions": 1, "upsamplers": 1 + has_attention}[part]
    return f"output_blocks.{block}.{position}"


def _part(index: int, num_heads: int, tensor: torch.Tensor) -> torch.Tensor:
    """One of q, k and v, [C, C] or [C], of LDM's [3C, C, 1] or [3C]."""
    split = tensor.reshape(num_heads, 3, -1, *tensor.shape[1:])[:, index]  # [heads, d, C, 1] or [heads, d]
    return split.reshape(-1, *tensor.shape[1:])


def _config(source: Mapping[str, torch.Tensor], num_heads: int, what: str) -> dict[str, Any]:
    """Arguments of :func:`~leaf_seg.networks.build_unet`, read from the shapes."""
    levels = (1 + last_number_after(source, "input_blocks.")) // (_LAYERS + 1)
    firsts = [1 + (_LAYERS + 1) * level for level in range(levels)]
    widths = [shape_of(source, f"input_blocks.{block}.0.out_layers.3.weight", what, 4)[0] for block in firsts]
    attended = [f"input_blocks.{block}.1.qkv.weight" in source for block in firsts]
    last = levels - 1
    down = [
        "AttnDownBlock2D" if has else "DownBlock2D" if level == last else "ResnetDownsampleBlock2D"
        for level, has in enumerate(attended)
    ]
    up = ["AttnUpBlock2D" if has else "ResnetUpsampleBlock2D" for has in reversed(attended)]
    return {
        "sample_size": 32,
        "in_channels": shape_of(source, "input_blocks.0.0.weight", what, 4)[1],
        "out_channels": shape_of(source, "out.2.weight", what, 4)[0],
        "block_out_channels": widths,
        "layers_per_block": _LAYERS,
        "down_block_types": down,
        "up_block_types": up,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 32,
        "attention_head_dim": widths[0] // num_heads,
        HEADS_KEY: num_heads,
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "act_fn": "silu",
        "freq_shift": 0,
        "flip_sin_to_cos": True,
    }


def _check_kind(source: Mapping[str, torch.Tensor], what: str) -> None:
    """Refuse the relatives of the network that are built otherwise."""
    strided = [key for key in source if re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", key)]
    if strided:
        raise InputError(
            f"The weights were recognised as {what}, but of the kind that samples down by a strided convolution "
            f"({strided[0]}); expected one with residual blocks for it (resblock_updown), as lsun_churches256 has."
        )
    if "label_emb.weight" in source:
        raise InputError(
            f"The weights were recognised as {what}, but conditioned on one of {source['label_emb.weight'].shape[0]} "
            "classes (label_emb), as SDSeg trains on several classes; expected a network without, of two classes."
        )
