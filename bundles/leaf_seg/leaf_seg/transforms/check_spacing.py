"""Checks that resampling a volume does not make it too large."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from leaf_seg.image_io.memory import FLOAT_BYTES, check_memory, memory_limit_bytes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable

_PLENTY = 1e15  # voxels along an axis; what a header claims may be infinitely many


class CheckSpacing(MapTransform):
    """Check how much memory volumes will take at another spacing, before they are resampled; changes nothing.

    A header may say that voxels have metres, or a model work at micrometres.

    Args:
        keys: keys of the images, MetaTensors [C, X, Y, Z]; pictures pass.
        spacing: voxel size in mm that volumes are to be resampled to.
        memory_limit_gb: gigabytes that a resampled volume may take; None is no limit.

    Raises:
        InputError: For a volume that would take more.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float], memory_limit_gb: float | None) -> None:
        super().__init__(keys)
        self.spacing = spacing
        self.limit = memory_limit_bytes(memory_limit_gb)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the volumes of ``data``."""
        for key in self.key_iterator(dict(data)):
            image: MetaTensor = data[key]
            if image.ndim == 4:
                self._check(image)
        return dict(data)

    def _check(self, image: MetaTensor) -> None:
        sizes = image.pixdim.tolist()
        shape = [
            max(1, round(min(n * size / new, _PLENTY)))
            for n, size, new in zip(image.shape[1:], sizes, self.spacing, strict=True)
        ]
        what = f"a volume of {_text(sizes)} mm voxels, resampled to the model's spacing of {_text(self.spacing)} mm,"
        try:
            check_memory(FLOAT_BYTES * math.prod(shape), what, self.limit)
        except InputError as error:
            raise InputError(f"{printable(image.meta.get('filename_or_obj', 'in memory'))}: {error}") from None


def _text(sizes: Sequence[float]) -> str:
    """Sizes along the axes: ``1 x 1 x 2.5``."""
    return " x ".join(f"{size:.4g}" for size in sizes)
