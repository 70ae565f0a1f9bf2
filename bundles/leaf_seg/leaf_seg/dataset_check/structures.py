"""How large the structures of a case are, and which a network would not see at its image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import label as label_components

from leaf_seg.data.slicing import resize_label, to_slices
from leaf_seg.data.structure_widths import StructureWidths

_MAX_SLICES = 8  # of a volume
_EIGHT = np.ones((3, 3), dtype=int)  # neighbours, diagonal ones too


@dataclass(frozen=True)
class Structures:
    """The structures in the sampled slices of a case, by class.

    Attributes:
        widths: of the widest place in each slice, in pixels of the image size; 0 where resizing has lost all.
        components: number of connected ones at native size.
        lost: how many of these have no pixel left at the image size.
    """

    widths: dict[int, list[float]] = field(default_factory=dict)
    components: dict[int, int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)


def measure_structures(label: torch.Tensor, image_size: tuple[int, int], axis: str) -> Structures:
    """Measure the structures of a label map in up to eight slices with foreground, evenly spaced.

    Args:
        label: class indices [1, H, W] or [1, X, Y, Z] (RAS).
        image_size: (H, W) that the slices are resized to.
        axis: slicing direction of volumes.
    """
    slices = to_slices(label, axis)
    filled = torch.nonzero((slices > 0).flatten(1).any(dim=1)).flatten().tolist()
    found = Structures()
    widths = StructureWidths(image_size, num_stacks=1)
    for index in filled[:: math.ceil(max(len(filled), 1) / _MAX_SLICES)]:
        native = slices[index : index + 1]  # [1, 1, h, w]
        widths.add(native, resize_label(native, image_size).numpy())
        _count(native[0, 0].numpy(), image_size, found)
    found.widths.update(widths.widths())
    return found


def _count(native: np.ndarray, image_size: Sequence[int], found: Structures) -> None:
    """Add the connected components of a slice [h, w]."""
    for value in np.unique(native)[1:].astype(int).tolist():
        numbered, count = label_components(native == value, _EIGHT)
        seen = resize_label(torch.from_numpy(numbered)[None, None], image_size)
        kept = len(torch.unique(seen[seen > 0]))
        found.components[value] = found.components.get(value, 0) + count
        found.lost[value] = found.lost.get(value, 0) + count - kept
