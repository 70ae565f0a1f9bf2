"""A network made ready to train: on its device, in a layout and with parts that cost the least there."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leaf_seg.networks.channels_last import exchange_norms, use_channels_last
from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.packed_dropout import pack_dropout
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import parse_bool

Network = TypeVar("Network", bound=SavedNetwork)
Module = TypeVar("Module", bound=nn.Module)

COMPILE = {"off": None, "default": "default", "cudagraphs": "reduce-overhead"}  # torch.compile's modes


def ready_to_train(
    network: Network,
    device: str | torch.device,
    channels_last: bool | str = False,
    gradient_checkpointing: bool | str = False,
    compile: str = "off",
) -> Network:
    """Move a network to its device and set it up for training, in place; its state stays as it is.

    Args:
        network: whose parts are set up; the names of its parameters do not change.
        device: that it trains on.
        channels_last: layout of images in memory; on a CPU not of a diffusion model's U-Net, which it slows down.
        gradient_checkpointing: compute activations of the blocks a second time in the backward pass instead of keeping
            them: less memory for about a third more time.
        compile: "off"; "default", by ``torch.compile``, which takes minutes at the first step and a C++ compiler on a
            CPU; "cudagraphs", compiled and captured in CUDA graphs (its mode "reduce-overhead").

    Returns:
        The network.

    Raises:
        InputError: When ``compile`` is unknown or asks for CUDA on another device, or no part of the network can
            compute its activations again.
    """
    device = torch.device(device)
    if compile not in COMPILE:
        raise InputError(f"compile is {compile!r}; expected one of {', '.join(COMPILE)}.")
    if compile == "cudagraphs" and device.type != "cuda":
        raise InputError(f"compile cudagraphs needs a CUDA device, found {device.type}; use off or default.")
    network.to(device)
    if device.type == "cpu":
        pack_dropout(network)
    if parse_bool(gradient_checkpointing, "gradient_checkpointing"):
        _checkpoint_blocks(network)
    is_last = parse_bool(channels_last, "channels_last")
    for part in network.parts:
        is_small = isinstance(network, LatentSegmenter) and part is network.unet  # few pixels, many weights
        if is_last and not (is_small and device.type == "cpu"):
            use_channels_last(part)
            if device.type == "cpu" and compile == "off":  # which makes its own of them
                exchange_norms(part)
        if compile != "off":
            part.compile(mode=COMPILE[compile])
    return network


def placed(module: Module, device: str | torch.device, channels_last: bool | str = False) -> Module:
    """Move a module that is not trained to its device, in place.

    Args:
        module: to move.
        device: that it computes on.
        channels_last: layout of images in memory.

    Returns:
        The module.
    """
    is_last = parse_bool(channels_last, "channels_last")
    module.to(torch.device(device))
    return module.to(memory_format=torch.channels_last) if is_last else module  # type: ignore[call-overload]


def _checkpoint_blocks(network: nn.Module) -> None:
    """Let diffusers' blocks forget their activations, of encoder and decoder as of the U-Net."""
    blocks: list[Any] = [module for module in network.modules() if hasattr(module, "gradient_checkpointing")]
    if not blocks:
        raise InputError(
            f"gradient_checkpointing is true, and {type(network).__name__} has no blocks that can compute their "
            "activations again; leave it out, or lower batch_size."
        )
    for block in blocks:
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
