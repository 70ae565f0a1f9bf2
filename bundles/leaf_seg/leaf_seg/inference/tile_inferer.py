"""For a network that sees pictures tile by tile, at their own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.inferers import sliding_window_inference

from leaf_seg.data.slicing import slice_channels
from leaf_seg.inference.inferers import SegmentationInferer


class TileInferer(SegmentationInferer):
    """Lets the network see windows of its size, and blends what it says of them, by MONAI's sliding window.

    Args:
        *args: as of :class:`SegmentationInferer`; ``image_size`` is that of a tile, ``batch_size`` tiles at a time.
        tile_overlap: share of a tile's side that it has in common with the next, in [0, 1).
        **kwargs: as of :class:`SegmentationInferer`.
    """

    def __init__(self, *args: Any, tile_overlap: float = 0.25, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tile_overlap = tile_overlap

    def _along(self, slices: torch.Tensor, network: Callable[..., Any]) -> Iterator[tuple[slice, torch.Tensor]]:
        """One slice at a time, in its own size."""

        def of_tiles(tiles: torch.Tensor) -> torch.Tensor:
            with self._autocast(network, tiles.device):
                hypotheses = self._hypotheses(tiles, network)  # [num_samples, N, K, h, w]
            return hypotheses.movedim(0, 1).flatten(1, 2).float()

        for index in range(len(slices)):
            blended: Any = sliding_window_inference(
                slice_channels(slices, [index], self.num_slices),
                self.image_size,
                self.batch_size,
                of_tiles,
                overlap=self.tile_overlap,
                mode="gaussian",
            )  # [1, num_samples x K, H, W]
            yield slice(index, index + 1), blended.unflatten(1, (self.num_samples, -1)).movedim(1, 0)
