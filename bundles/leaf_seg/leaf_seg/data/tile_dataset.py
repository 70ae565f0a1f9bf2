"""Training tiles of pictures and slices that stay as large as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from leaf_seg.data.case_store import CaseStore
from leaf_seg.data.prepared_case import CutStack, StackFacts, as_bytes, as_halves
from leaf_seg.data.rater_target import RaterTarget
from leaf_seg.data.slice_dataset import BatchAugmentation, SliceDataset
from leaf_seg.data.splits import Case
from leaf_seg.data.structure_widths import measured_widths


class TileDataset(SliceDataset):
    """Windows of the network's size, cut from slices at their own resolution.

    Each slice is covered by a grid of tiles, the fewest that do; each is an item, empty or not by itself. With an
    augmentation seed an item moves by up to half a tile at random, within its slice. Slices that are smaller than a
    tile lie in its middle, in zeros, as MONAI's sliding window has them. Only a tile leaves the disk.
    """

    def _stack(self, image: torch.Tensor, label: torch.Tensor, axis: str | None, is_measured: bool) -> CutStack:
        image, label = (_padded(stack, self.image_size) for stack in (image, label))
        height, width = self.image_size
        index: list[tuple[int, ...]] = []
        is_empty: list[bool] = []
        samples = []  # of the tiles, to be measured
        for row, column in tile_origins(label.shape[2:], self.image_size):
            tiles = label[:, :, row : row + height, column : column + width]
            index += [(number, row, column) for number in range(len(label))]
            is_empty += (~(tiles > 0).flatten(1).any(dim=1)).tolist()
            samples.append(tiles[len(tiles) // 2 :][:1, :1])
        sample = torch.cat(samples)
        widths = measured_widths(sample, sample.numpy()) if is_measured else []
        return CutStack(StackFacts(axis, index, is_empty, widths), as_halves(image), as_bytes(label))

    def _window(self, item: int, size: Sequence[int], seed: int | None) -> tuple[slice, slice]:
        origin = self.index[item][2:]
        if seed is not None:
            moves = np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
            places = zip(origin, moves, self.image_size, size, strict=True)
            origin = tuple(min(max(o + round(m * t), 0), s - t) for o, m, t, s in places)
        rows, columns = (slice(o, o + t) for o, t in zip(origin, self.image_size, strict=True))
        return rows, columns


def tile_origins(size: Sequence[int], tile: Sequence[int]) -> list[tuple[int, int]]:
    """Upper left corners of the fewest tiles that cover a picture, evenly spread.

    Args:
        size: (H, W) of the picture, at least that of a tile.
        tile: (h, w).
    """
    rows, columns = (
        np.linspace(0, whole - part, math.ceil(whole / part)).round().astype(int).tolist()
        for whole, part in zip(size, tile, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def training_slices(
    data: Sequence[Case],
    preprocessing: Callable[[Case], dict[str, Any]],
    image_size: Sequence[int],
    axis: str | Sequence[str] = "axial",
    num_slices: int = 1,
    augmentation: BatchAugmentation | Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    cache_dir: str | None = None,
    class_names: Sequence[str] | None = None,
    tile_overlap: float | None = None,
    store: CaseStore | None = None,
    rater_target: RaterTarget | None = None,
) -> SliceDataset:
    """Slices resized to the network's size, or tiles of that size; arguments as of :class:`SliceDataset`.

    Args:
        tile_overlap: None resizes; any number cuts tiles, which overlap by that only when a trained model segments.

    Raises:
        InputError: As :class:`SliceDataset`.
    """
    kind = SliceDataset if tile_overlap is None else TileDataset
    options = (axis, num_slices, augmentation, cache_dir, class_names, store, rater_target)
    return kind(data, preprocessing, image_size, *options)


def _padded(stack: torch.Tensor, tile: Sequence[int]) -> torch.Tensor:
    """[S, C, H, W] with zeros around it where it is smaller than a tile."""
    missing = [max(part - whole, 0) for whole, part in zip(stack.shape[2:], tile, strict=True)]
    if not any(missing):
        return stack
    (top, left), (bottom, right) = ([m // 2 for m in missing], [m - m // 2 for m in missing])
    return F.pad(stack, (left, right, top, bottom))
