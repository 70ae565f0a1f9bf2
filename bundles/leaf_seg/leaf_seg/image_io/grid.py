"""The grid of pixels or voxels that an image is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Grid:
    """Size of an image and its place in space.

    Attributes:
        shape: (H, W) of a picture, (X, Y, Z) of a volume.
        affine: voxel-to-world matrix of a volume, 4 x 4 in mm, RAS+ as nibabel gives it; None for a picture.
    """

    shape: tuple[int, ...]
    affine: np.ndarray | None = None

    @property
    def is_volume(self) -> bool:
        """Whether the image is a volume, not a picture."""
        return self.affine is not None

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a voxel along each axis in mm; of a picture 1 pixel."""
        if self.affine is None:
            return (1.0,) * len(self.shape)
        return tuple(float(size) for size in (self.affine[:3, :3] ** 2).sum(axis=0) ** 0.5)
