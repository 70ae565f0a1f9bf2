"""Matrices from voxels to millimetres in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaf_seg.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_LEAST_VOLUME = 1e-3  # of the body that three unit vectors along the axes span; 1 when they are at right angles


def check_affine(affine: np.ndarray) -> None:
    """Refuse affines with values that are not finite, and those that make a plane or a line of a volume.

    Args:
        affine: 4 x 4.

    Raises:
        InputError: Says the affine.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        is_finite = np.isfinite(affine).all() and np.isfinite(sizes).all()
        if is_finite and (sizes > 0).all() and abs(np.linalg.det(affine[:3, :3] / sizes)) > _LEAST_VOLUME:
            return
    rows = "; ".join(" ".join(f"{value:.4g}" for value in row) for row in affine[:3])
    raise InputError(
        f"its affine ({rows}) is not that of a volume: it is not finite or singular; expected an sform, or a qform and "
        "voxel sizes, that place a volume. Correct the header or export again."
    )
