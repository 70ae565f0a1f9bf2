"""For a network that resizes its images itself."""

from __future__ import annotations

import torch

from leaf_seg.data.slicing import slice_channels
from leaf_seg.inference.inferers import SegmentationInferer


class NativeSizeInferer(SegmentationInferer):
    """Gives slices to the network as they are, and takes its answers in their size."""

    def _network_input(self, slices: torch.Tensor, indices: range) -> torch.Tensor:
        return slice_channels(slices, indices, self.num_slices)  # [N, 3, h, w]
