"""Slices of a DICOM series as a volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaf_seg.image_io.dicom_slice import DicomSlice
from leaf_seg.image_io.grid import Grid
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import shortened

if TYPE_CHECKING:
    import numpy as np

_ANGLE = 1e-3  # between directions of slices, in what their vectors differ
_PART = 0.05  # of the distance between slices, by which places may be rounded


@dataclass(frozen=True, eq=False)
class DicomStack:
    """The slices of one series, in the order of the volume.

    Attributes:
        slices: name of the file of each, and the number of its frame there (None of a file of one), from the first
            slice to the last.
        grid: of the volume [columns, rows, slices].
    """

    slices: tuple[tuple[str, int | None], ...]
    grid: Grid


def stacked(slices: Sequence[DicomSlice]) -> DicomStack:
    """Put slices in the order of their places, and find the affine.

    Raises:
        InputError: When they are of several series, directions or sizes, when slices are missing or at the same place,
            or when several say nothing of their place.
    """
    if not slices:
        raise InputError("no DICOM image there; expected the files of one series. Copy or export them again.")
    _check_one_series(slices)
    first = slices[0]
    for what, values in (
        ("sizes", {s.shape for s in slices}),
        ("pixel sizes", {tuple(round(size, 4) for size in s.pixel_size) for s in slices}),
    ):
        if len(values) > 1:
            raise InputError(f"slices of {len(values)} {what}: {shortened(map(str, sorted(values)))}; {_ONE}")
    if len(slices) > 1 and any(s.directions is None or s.position is None for s in slices):
        raise InputError(
            f"{len(slices)} DICOM files that do not say where they lie (Image Position, Image Orientation); expected "
            "slices of a volume. Give each file by itself."
        )
    affine, order = _placed(slices)
    shape = (*first.shape, len(slices))
    return DicomStack(tuple((slices[index].file, slices[index].frame) for index in order), Grid(shape, affine))


_ONE = "expected one series of equal slices. Put the files of each into a folder of its own."


def _check_one_series(slices: Sequence[DicomSlice]) -> None:
    counts = Counter((s.series, s.title) for s in slices)
    if len({series for series, _ in counts}) > 1:
        found = shortened(f"{title!r} ({count} files)" for (_, title), count in counts.most_common())
        raise InputError(f"files of {len(counts)} DICOM series: {found}; {_ONE}")


def _placed(slices: Sequence[DicomSlice]) -> tuple[np.ndarray, list[int]]:
    """Affine in RAS+, and the order of the slices along their normal."""
    import numpy as np

    directions = np.array([s.directions or (1, 0, 0, 0, 1, 0) for s in slices], dtype=float)
    if np.abs(directions - directions[0]).max() > _ANGLE:
        raise InputError(f"slices of several directions, as with a localizer among them; {_ONE}")
    row, column = directions[0, :3], directions[0, 3:]
    normal = np.cross(row, column)
    places = np.array([s.position or (0, 0, 0) for s in slices], dtype=float)
    heights = places @ normal
    order = np.argsort(heights, kind="stable")
    step = normal * slices[0].thickness
    if len(slices) > 1:
        _check_gaps(heights[order])
        step = (places[order[-1]] - places[order[0]]) / (len(slices) - 1)  # with the tilt of a gantry
        line = places[order[0]] + np.arange(len(slices))[:, None] * step
        if np.abs(places[order] - line).max() > max(_PART * float(np.linalg.norm(step)), 2 * _PART):
            raise InputError(f"slices that do not lie behind one another; {_ONE}")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * slices[0].pixel_size[0], column * slices[0].pixel_size[1], step
    affine[:3, 3] = places[order[0]]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, [int(index) for index in order]


def _check_gaps(heights: np.ndarray) -> None:
    """Refuse slices at the same place, and where some are missing between others."""
    import numpy as np

    gaps = np.diff(heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    if (gaps < 1e-3).any():
        raise InputError(
            f"{int((gaps < 1e-3).sum()) + 1} or more slices lie at the same place, as time points or echoes do; "
            "expected one volume. Put the files of each into a folder of its own."
        )
    wide = np.flatnonzero(np.abs(gaps - usual) > max(_PART * usual, 1e-2))
    if len(wide):
        at = int(wide[0])
        missing = round(float(gaps[at]) / usual) - 1
        what = f"slices are missing ({missing})" if missing > 0 else "the distance of slices is another"
        raise InputError(
            f"{what} between the places {heights[at]:.4g} and {heights[at + 1]:.4g} mm along the series, whose slices "
            f"are {usual:.4g} mm apart elsewhere; expected equal distances. Export the whole series again."
        )
