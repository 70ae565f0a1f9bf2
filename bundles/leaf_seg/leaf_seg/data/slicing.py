"""Volumes as stacks of slices, pictures as stacks of one; resizing of slices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import MIRROR_AXES

# Index of the array axis that is cut, in RAS orientation.
SLICE_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


def slice_axis(name: str) -> int:
    """Array axis, 0 to 2, of an anatomical slicing direction in RAS orientation.

    Raises:
        InputError: When the name is not one of :data:`SLICE_AXES`.
    """
    if not isinstance(name, str) or name not in SLICE_AXES:
        raise InputError(f"axis is {name!r}; expected one of {', '.join(SLICE_AXES)}.")
    return SLICE_AXES[name]


def slice_directions(axis: str | Sequence[str]) -> tuple[str, ...]:
    """One slicing direction, or several that are trained together and whose answers are averaged, as a tuple.

    Raises:
        InputError: When there is none, one is unknown or there twice.
    """
    if not isinstance(axis, Sequence):
        raise InputError(f"axis is {axis!r}; expected one or several of {', '.join(SLICE_AXES)}.")
    names = (axis,) if isinstance(axis, str) else tuple(axis)
    for name in names:
        slice_axis(name)
    if not names or len(set(names)) < len(names):
        raise InputError(f"axis is {list(names)}; expected one or several of {', '.join(SLICE_AXES)}, each once.")
    return names


def check_mirror_axes(axes: Sequence[int], name: str = "mirror_axes") -> tuple[int, ...]:
    """Spatial axes along which an image is mirrored, as a tuple; the name is that of the setting.

    Raises:
        InputError: When they are not among 0, 1 and 2, each once.
    """
    MIRROR_AXES.check(axes, name)
    return tuple(axes)


def to_slices(image: torch.Tensor, axis: str) -> torch.Tensor:
    """Cut an image into slices.

    Args:
        image: picture [C, H, W] or volume [C, X, Y, Z] in RAS orientation.
        axis: slicing direction; without meaning for a picture.

    Returns:
        [S, C, H, W]; S = 1 for a picture.
    """
    if image.ndim == 3:
        return image[None]
    return image.movedim(1 + slice_axis(axis), 0)


def from_slices(slices: torch.Tensor, axis: str, is_volume: bool) -> torch.Tensor:
    """Inverse of :func:`to_slices`: [S, C, H, W] to [C, H, W] or [C, X, Y, Z]."""
    return slices.movedim(0, 1 + slice_axis(axis)) if is_volume else slices[0]


def slice_channels(slices: torch.Tensor, indices: Sequence[int], num_slices: int) -> torch.Tensor:
    """The three-channel network input of chosen slices.

    Grey slices are repeated three times, or with ``num_slices`` = 3 take their neighbours as channels ("2.5D": before,
    itself, after; at the ends the slice itself stands in). RGB pictures have no neighbours, and stay as they are.

    Args:
        slices: all slices [S, C, H, W], C = 1 or 3.
        indices: which of them, each in 0 .. S - 1.
        num_slices: 1 or 3.

    Returns:
        [len(indices), 3, H, W].

    Raises:
        InputError: When the channels cannot be brought to three.
    """
    channels = slices.shape[1]
    if channels not in (1, 3):
        raise InputError(f"Found an image with {channels} channels; expected 1 (grey) or 3 (RGB). Convert it first.")
    if num_slices not in (1, 3):
        raise InputError(f"num_slices is {num_slices}; expected 1, or 3 for neighbouring slices as channels.")
    if num_slices == 1 or channels == 3:
        return slices[list(indices)].expand(-1, 3, -1, -1)
    last = len(slices) - 1
    neighbours = torch.tensor([[max(i - 1, 0), i, min(i + 1, last)] for i in indices])
    return slices[neighbours][:, :, 0]  # [N, 3, 1, H, W] -> [N, 3, H, W]


def resize_image(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize [N, C, H, W] float values bilinearly, with an anti-aliasing filter where they shrink."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def resize_label(label: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize label maps [N, C, H, W] by the nearest pixel centre; the dtype stays."""
    if tuple(label.shape[2:]) == tuple(size):
        return label
    return F.interpolate(label.float(), size=tuple(size), mode="nearest-exact").to(label.dtype)
