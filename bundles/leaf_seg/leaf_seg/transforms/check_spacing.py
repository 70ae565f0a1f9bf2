"""Checks that resampling an image does not make it too large."""

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
    """Check how much memory images will take at another spacing, before they are resampled; changes nothing.

    A header may say that voxels have metres, or a model work at micrometres. Pixels of a picture count as 1 mm.

    Args:
        keys: keys of the images, MetaTensors [C, H, W] or [C, X, Y, Z].
        spacing: size in mm that voxels are to be resampled to; of pictures the first two numbers count.
        memory_limit_gb: gigabytes that a resampled image may take; None is no limit.

    Raises:
        InputError: For an image that would take more.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float], memory_limit_gb: float | None) -> None:
        super().__init__(keys)
        self.spacing = spacing
        self.limit = memory_limit_bytes(memory_limit_gb)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the images of ``data``."""
        for key in self.key_iterator(dict(data)):
            self._check(data[key])
        return dict(data)

    def _check(self, image: MetaTensor) -> None:
        sizes, spacing = image.pixdim.tolist(), self.spacing[: image.ndim - 1]
        shape = [
            max(1, round(min(n * size / new, _PLENTY)))
            for n, size, new in zip(image.shape[1:], sizes, spacing, strict=True)
        ]
        kind = f"a volume of {_text(sizes)} mm voxels" if image.ndim == 4 else "a picture, whose pixels count as 1 mm"
        what = f"{kind}, resampled to the model's spacing of {_text(spacing)} mm,"
        try:
            check_memory(FLOAT_BYTES * image.shape[0] * math.prod(shape), what, self.limit)
        except InputError as error:
            raise InputError(f"{printable(image.meta.get('filename_or_obj', 'in memory'))}: {error}") from None


def _text(sizes: Sequence[float]) -> str:
    """Sizes along the axes: ``1 x 1 x 2.5``."""
    return " x ".join(f"{size:.4g}" for size in sizes)
