"""What the header of a NIfTI says of its voxels: shape, place, units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.affine import check_affine
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np

_MILLIMETRES = {1: 1e3, 2: 1.0, 3: 1e-3}  # by the code of metres, millimetres, micrometres
_SPACE_UNITS = 7  # bits of the code
_FAR = 0.1  # of a voxel


def as_volume(header: Any) -> Any:
    """The header of the same voxels in three dimensions: [X, Y] and [X, Y, Z, 1, ...] are volumes, too.

    Channels or time points, along one axis after the third, become the fourth.

    A single slice without thickness gets one of 1, at right angles to it.
    """
    import numpy as np

    shape = tuple(int(length) for length in header.get_data_shape())
    channels = [length for length in shape[3:] if length != 1]
    if len(shape) < 2 or len(channels) > 1:
        return header
    header = header.copy()
    header.set_data_shape((*(*shape, 1)[:3], *channels))
    if header.get_data_shape()[2] == 1:
        if not header["pixdim"][3] > 0:
            header["pixdim"][3] = 1
        across = np.array([header[name] for name in ("srow_x", "srow_y", "srow_z")])[:, :3]
        if header["sform_code"] > 0 and not across[:, 2].any():
            normal = np.cross(across[:, 0], across[:, 1])
            size = np.linalg.norm(normal)
            for name, value in zip(("srow_x", "srow_y", "srow_z"), normal / (size or 1), strict=True):
                header[name][2] = value
    return header


def without_channels(header: Any) -> Any:
    """The header of one channel of :func:`as_volume`."""
    header = header.copy()
    header.set_data_shape(header.get_data_shape()[:3])
    header.set_intent("none")  # that of several channels is a vector
    return header


def affine_of(header: Any) -> np.ndarray:
    """The affine of a header, in its own units."""
    from nibabel.spatialimages import HeaderDataError

    try:
        affine: np.ndarray = header.get_best_affine()
    except (ValueError, HeaderDataError) as error:
        raise InputError(
            f"its header has no usable qform ({error}); expected an sform, or a qform and voxel sizes, that place a "
            "volume. Correct the header or export again."
        ) from error
    return affine


def in_millimetres(affine: np.ndarray, header: Any) -> np.ndarray:
    """An affine in the header's units as one in mm, which they are where they are unknown."""
    import numpy as np

    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & _SPACE_UNITS, 1.0)
    return affine if scale == 1 else np.diag([scale, scale, scale, 1.0]) @ affine


def check_values(header: Any) -> None:
    """Refuse voxels that are no real numbers, or are scaled to none.

    Raises:
        InputError: Says which they are.
    """
    import numpy as np

    dtype = header.get_data_dtype()
    if dtype.names is not None or dtype.kind == "c":
        found = "complex numbers" if dtype.names is None else "RGB colours"
        raise InputError(f"the voxels are {found} ({dtype}); expected one real number each. Convert the volume.")
    slope = float(header["scl_slope"])
    if np.isinf(slope):  # NaN and 0 mean that voxels are not scaled
        raise InputError(f"its header's scl_slope is {slope}; expected a finite number. Correct the header.")


def check_shape(shape: Sequence[int]) -> None:
    """Refuse other than three dimensions and one of channels, and those without voxels.

    Raises:
        InputError: Says the shape.
    """
    if len(shape) not in (3, 4):
        raise InputError(
            f"a {len(shape)}D NIfTI of shape {tuple(shape)}; expected a 3D volume (X, Y, Z), or one with channels (X, "
            "Y, Z, C). Split time points into volumes of their own."
        )
    if min(shape) < 1:
        raise InputError(f"a NIfTI of shape {tuple(shape)}; expected at least one voxel along each axis. Correct it.")


def check_place(header: Any) -> None:
    """Refuse what lies nowhere in space.

    Raises:
        InputError: Says the affine.
    """
    check_affine(in_millimetres(affine_of(header), header))


def remark_on_place(header: Any, path: PathLike) -> None:
    """Say where a header leaves the place in space open, or gives two, or has other units than millimetres."""
    import numpy as np

    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & _SPACE_UNITS, 1.0)
    if scale != 1:
        unit = "metres" if scale > 1 else "micrometres"
        remark("units", path, f"its header says that it is in {unit}; its sizes are taken times {scale:g}, in mm.")
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if sform <= 0 and qform <= 0:
        remark(
            "no place",
            path,
            "its header has neither sform nor qform, so that left and right are not known; the first axis is taken to "
            "run from right to left.",
        )
    elif sform > 0 and qform > 0:
        corner = np.array([*(length - 1 for length in header.get_data_shape()[:3]), 1.0])
        difference = header.get_sform() - header.get_qform()
        away = float(np.abs(difference @ corner).max(initial=float(np.abs(difference[:3, 3]).max())))
        if away > _FAR * float(min(header.get_zooms()[:3])):
            remark(
                "two places",
                path,
                f"its sform (code {sform}) and its qform (code {qform}) place it {away * scale:.3g} mm apart; the "
                "sform is taken.",
            )
