"""Weights in half precision: half the bytes of autocast's, which casts them anew in every pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from leaf_seg.networks.saved_network import SavedNetwork


def set_weights(network: SavedNetwork, dtype: torch.dtype, channels_last: bool = False) -> None:
    """Convert the weights of a network's parts in place, and what they are given when they are called.

    What stands between the parts, as noise, schedule and codec, stays in fp32.

    Args:
        network: in evaluation mode; it cannot be trained or saved any more.
        dtype: of the parts' weights and activations.
        channels_last: let images have their channels last in memory, as the units for matrices take them.
    """
    for part in network.parts:
        for weight in (*part.parameters(), *part.buffers()):  # diffusers' own `to` warns of what it does not have
            if weight.is_floating_point():
                weight.data = weight.data.to(dtype)
                if channels_last and weight.ndim == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        part.register_forward_pre_hook(_Converted(dtype, channels_last))


class _Converted:
    """Forward pre-hook: floating-point inputs in another format, images among them in another layout."""

    def __init__(self, dtype: torch.dtype, channels_last: bool) -> None:
        self.dtype = dtype
        self.channels_last = channels_last

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(map(self._converted, inputs))

    def _converted(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        value = value.to(self.dtype)
        is_image = self.channels_last and value.ndim == 4
        return value.contiguous(memory_format=torch.channels_last) if is_image else value
