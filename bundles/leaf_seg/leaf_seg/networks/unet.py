"""The denoising U-Net: diffusers' UNet2DModel, its input widened for the image latent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object

HEADS_KEY = "num_attention_heads"
_FREE_KEYS = ("sample_size", "dropout")  # of a configuration: the weights do for any value


def build_unet(config: dict[str, Any]) -> UNet2DModel:
    """Build a UNet2DModel with random weights.

    Args:
        config: arguments of ``diffusers.UNet2DModel``; in addition ``num_attention_heads`` sets the same number of
            heads at every level, as in the LDM networks, which ``attention_head_dim`` cannot express.
    """
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    heads = arguments.pop(HEADS_KEY, None)
    unet = UNet2DModel(**arguments)
    if heads is not None:
        set_attention_heads(unet, heads)
    return unet


def build_conditional_unet(
    config: dict[str, Any],
    latent_channels: int = 4,
    num_mask_latents: int = 1,
    weights: str | os.PathLike[str] | None = None,
) -> UNet2DModel:
    """Build the U-Net of LEAF: input [image latent, noisy mask latent], output the mask latent.

    The unconditional network is built first and its ``conv_in`` is widened, so that pretrained unconditional weights
    and random ones go the same way.

    Args:
        config: as for :func:`build_unet`, without ``in_channels`` and ``out_channels``.
        latent_channels: channels of one latent (4).
        num_mask_latents: mask latents side by side, n; the input has 4 + 4n channels, the output 4n.
        weights: folder of the unconditional network's weights, of one latent; random unless given. For more than one
            mask latent the output is repeated.

    Raises:
        InputError: When the weights do not fit.
    """
    num_outputs = num_mask_latents if weights is None else 1
    unet = build_unet({**config, "in_channels": latent_channels, "out_channels": latent_channels * num_outputs})
    if weights is not None:
        load_unet_weights(unet, weights)
        out = unet.conv_out
        _replace_conv_out(unet, out.weight.repeat(num_mask_latents, 1, 1, 1), out.bias.repeat(num_mask_latents))
    widen_conv_in(unet, latent_channels * (1 + num_mask_latents))
    return unet


def load_unet_weights(unet: UNet2DModel, folder: str | os.PathLike[str]) -> None:
    """Load the weights of a folder that ``python -m leaf_seg convert`` wrote, strictly.

    diffusers' own ``from_pretrained`` would lose the number of heads.

    Raises:
        InputError: When a file is missing, cannot be read or does not fit the network.
    """
    file = Path(folder) / DIFFUSERS_WEIGHTS_NAME
    for path in (file, file.with_name("config.json")):
        if not path.is_file():
            raise InputError(
                f"No {path.name} in the U-Net's folder {Path(folder).resolve()}; expected what python -m leaf_seg "
                "convert makes of LDM's checkpoint. Set --unet_dir, or --unet_dir '$None' to start from random weights."
            )
    _check_config(unet, file.with_name("config.json"))
    try:
        unet.load_state_dict(load_file(file))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(
            f"The weights {file} do not fit the U-Net of unet_config ({str(error).strip()[:500]}); expected those of "
            "the same network."
        ) from error


def _check_config(unet: UNet2DModel, file: Path) -> None:
    """Compare what the shapes do not show, such as the number of heads."""
    saved = read_json_object(file)
    own = json.loads(json.dumps(dict(unet.config)))
    differing = [
        f"{key}: {own[key]!r}, there {saved.get(key)!r}"
        for key in own
        if not key.startswith("_") and key not in _FREE_KEYS and own[key] != saved.get(key)
    ]
    if differing:
        raise InputError(
            f"The U-Net of unet_config is not that of {file} ({'; '.join(differing)}); expected the same. Set "
            "unet_config to the values there."
        )


def change_mask_latents(unet: UNet2DModel, latent_channels: int, num_mask_latents: int, image_first: bool) -> None:
    """Change a conditional U-Net in place to another number of mask latents.

    New mask latents repeat the old ones, in order, and the input's weights are scaled so that activations keep their
    size; superfluous ones are left out.

    Args:
        unet: input of 4 + 4m channels, output 4m.
        latent_channels: channels of one latent (4).
        num_mask_latents: n, wanted.
        image_first: whether the image latent comes first in the input.
    """
    present = unet.config["out_channels"] // latent_channels
    if present == num_mask_latents:
        return
    chosen = torch.arange(num_mask_latents) % present
    channels = (chosen[:, None] * latent_channels + torch.arange(latent_channels)).flatten()
    weight = unet.conv_in.weight.detach()
    if image_first:
        image, mask = weight[:, :latent_channels], weight[:, latent_channels:]
    else:
        mask, image = weight[:, :-latent_channels], weight[:, -latent_channels:]
    mask = mask[:, channels] * (present / num_mask_latents)
    _replace_conv_in(unet, torch.cat([image, mask] if image_first else [mask, image], dim=1))
    _replace_conv_out(unet, unet.conv_out.weight[channels], unet.conv_out.bias[channels])


def widen_conv_in(unet: UNet2DModel, in_channels: int) -> None:
    """Widen ``conv_in`` in place by repeating its weight, scaled so that the activations keep their size.

    For 4 -> 8 channels the weight is repeated twice and halved, as in Marigold and the published LEAF code.

    Raises:
        ValueError: When ``in_channels`` is not a multiple of the present number.
    """
    old = unet.conv_in
    repeats, rest = divmod(in_channels, old.in_channels)
    if rest:
        raise ValueError(f"Cannot widen conv_in from {old.in_channels} to {in_channels} channels: not a multiple.")
    _replace_conv_in(unet, old.weight.detach().repeat(1, repeats, 1, 1) / repeats)


def _replace_conv_in(unet: UNet2DModel, weight: torch.Tensor) -> None:
    """A first convolution with this weight, [C, in, 3, 3], and the bias there is."""
    old, in_channels = unet.conv_in, weight.shape[1]
    new = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    new.weight, new.bias = nn.Parameter(weight), old.bias
    unet.conv_in = new
    unet.register_to_config(in_channels=in_channels)


def _replace_conv_out(unet: UNet2DModel, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """A last convolution with this weight, [out, C, 3, 3], and bias, [out]."""
    old, out_channels = unet.conv_out, weight.shape[0]
    new = nn.Conv2d(old.in_channels, out_channels, old.kernel_size, old.stride, old.padding)
    new.weight, new.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    unet.conv_out = new
    unet.register_to_config(out_channels=out_channels)


def set_attention_heads(unet: UNet2DModel, heads: int) -> None:
    """Give every attention module the same number of heads, as in the LDM networks.

    The number is kept in ``unet.config`` for :func:`build_unet`; diffusers' own ``from_pretrained`` would lose it.
    """
    for module in unet.modules():
        if isinstance(module, Attention):
            dim = module.inner_dim // heads
            module.heads = heads
            module.sliceable_head_dim = heads
            module.scale = dim**-0.5
    unet.register_to_config(**{HEADS_KEY: heads})
