"""How far the masks of two sets overlap, pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_PART = 2**20  # pixels at a time: their counts are exact in float32


@dataclass(frozen=True)
class MaskPairs:
    """Counts of all pairs of a mask of one set and a mask of another.

    Attributes:
        intersection: pixels that both masks have, float64 [N, M].
        first: pixels of the masks of the first set, float64 [N, 1].
        second: pixels of the masks of the second set, float64 [1, M].
        num_pixels: pixels of a picture, or voxels of a volume.
    """

    intersection: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    num_pixels: int

    def iou(self) -> torch.Tensor:
        """Intersection over union, float64 [N, M]; 1 where both masks are empty."""
        union = self.first + self.second - self.intersection
        return torch.where(union > 0, self.intersection / union.clamp(min=1), 1.0)

    def dice(self) -> torch.Tensor:
        """Dice, float64 [N, M]; 1 where both masks are empty."""
        total = self.first + self.second
        return torch.where(total > 0, 2 * self.intersection / total.clamp(min=1), 1.0)

    def variance(self) -> torch.Tensor:
        """Variance over all pixels of the difference of both masks (of 0 and 1), float64 [N, M], 0 to 1."""
        different = (self.first + self.second - 2 * self.intersection) / self.num_pixels
        return different - ((self.first - self.second) / self.num_pixels) ** 2


def mask_pairs(first: torch.Tensor, second: torch.Tensor) -> MaskPairs:
    """Count the pixels of the masks of two sets and of their pairs.

    Args:
        first: N masks, bool [N, *spatial].
        second: M masks, bool [M, *spatial].

    Raises:
        ValueError: When the masks have different sizes, or a set is empty.
    """
    if first.shape[1:] != second.shape[1:] or not (len(first) and len(second)):
        raise ValueError(
            f"masks {tuple(first.shape)} and {tuple(second.shape)}; expected some of one size in each set."
        )
    flat = [masks.flatten(1) for masks in (first, second)]  # [N, pixels], [M, pixels]
    intersection = torch.zeros(len(first), len(second), dtype=torch.float64)
    for part, other in zip(*(masks.split(_PART, dim=1) for masks in flat), strict=True):
        intersection += (part.float() @ other.float().T).double().cpu()
    sizes = [masks.sum(dim=1).double().cpu() for masks in flat]
    return MaskPairs(intersection, sizes[0][:, None], sizes[1][None], flat[0].shape[1])
