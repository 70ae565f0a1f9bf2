"""Tensors: whether weights can be meant, what tells one from others, how one lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line, shortened


def not_finite(tensor: torch.Tensor) -> bool:
    """Whether a real tensor has values that are NaN or infinite."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return False
    return not all(bool(extreme.isfinite()) for extreme in torch.aminmax(tensor))  # needs no memory; NaN is kept


def check_finite(state: Mapping[str, torch.Tensor], source: object) -> None:
    """Refuse weights with values that are NaN or infinite, which give nonsense for every image.

    Args:
        state: real tensors by their names.
        source: file or folder that they come from, for the message.

    Raises:
        InputError: Names the tensors.
    """
    found = [name for name, tensor in state.items() if not_finite(tensor)]
    if found:
        raise InputError(
            f"{source}: {len(found)} tensors have values that are NaN or infinite ({one_line(shortened(found, 3))}); "
            "expected finite weights. Restore the file, or train again with a lower learning_rate."
        )


class Digest(Protocol):
    """A hash object of hashlib."""

    def update(self, data: Any, /) -> None:
        """Hash further bytes."""


def add_to_digest(digest: Digest, tensor: torch.Tensor) -> None:
    """Let a hash depend on a tensor's type, shape and bytes."""
    tensor = tensor.detach().as_subclass(torch.Tensor).cpu()
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.flatten().view(torch.uint8).numpy())


def memory_order(tensor: torch.Tensor) -> list[int]:
    """The dimensions of a tensor as they lie in memory, the outermost first."""
    strides = tensor.stride()
    return sorted(range(tensor.ndim), key=lambda dim: -strides[dim])


def permuted_back(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """What ``tensor`` was before ``permute(order)``; a view."""
    return tensor.permute([order.index(dim) for dim in range(tensor.ndim)])
