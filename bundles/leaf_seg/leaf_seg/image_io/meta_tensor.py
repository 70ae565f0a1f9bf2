"""What is read from a file, as MONAI's transforms take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from leaf_seg.runtime.files import PathLike

# Key of the metadata with the greatest value that a pixel of the picture's file can have.
MAXIMUM = "maximum"
# Key of the metadata of a stack of pictures: whether its file says how large a voxel is.
HAS_SIZE = "has_size"


def as_meta_tensor(
    array: np.ndarray,
    path: PathLike,
    affine: np.ndarray | None = None,
    maximum: float | None = None,
    **meta: Any,
) -> MetaTensor:
    """Make a MetaTensor with the metadata that MONAI's readers give, and that its writers and MONAI Label look for.

    Args:
        array: picture [H, W] or [H, W, C], or volume [X, Y, Z]; a float32 array becomes part of the result.
        path: file that it is from.
        affine: of a volume, as in :class:`~leaf_seg.image_io.grid.Grid`; None for a picture.
        maximum: of a picture, the greatest value that its file can hold (255 with 8 bits), by which it is scaled to
            [0, 1]; None where there is none, as for floats: then an intensity window has to be given.
        meta: more of it.

    Returns:
        float32 [C, *spatial].
    """
    num_spatial = 2 if affine is None else 3
    values = torch.from_numpy(np.require(array, np.float32, ["C", "W", "O"]))  # a copy only where it has to be one
    values = values.movedim(-1, 0) if array.ndim > num_spatial else values[None]
    if maximum is not None:
        meta[MAXIMUM] = maximum
    meta |= {"filename_or_obj": str(path), "spatial_shape": np.array(values.shape[1:])}
    if affine is None:
        return MetaTensor(values, meta=meta)
    meta["original_affine"] = np.array(affine)
    return MetaTensor(values, affine=torch.from_numpy(np.array(affine, dtype=np.float64)), meta=meta)
