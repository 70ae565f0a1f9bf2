"""One DICOM file: what its header says, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np

MARK, _MARK_AT = b"DICM", 128
HEAD_BYTES = _MARK_AT + len(MARK)
# Sizes of a pixel by rows and columns: in the patient, at the detector, of what was scanned.
_PIXEL_SIZES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_INVERTED = "MONOCHROME1"


@dataclass(frozen=True)
class DicomSlice:
    """What places a slice.

    Attributes:
        file: name of the file in its folder or archive.
        series: UID of its series.
        title: of the series, for messages.
        shape: columns, rows.
        directions: along a row and down a column, two unit vectors in LPS+, six numbers; None where it says nothing.
        position: of the first pixel, LPS+ in mm; None where it says nothing.
        pixel_size: along a row and down a column, in mm.
        thickness: distance of slices or, in its absence, thickness in mm; 1 where it says neither.
        frame: its number in the file, from 0; None where it is the only one.
    """

    file: str
    series: str
    title: str
    shape: tuple[int, int]
    directions: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixel_size: tuple[float, float]
    thickness: float
    frame: int | None = None


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one, by the mark of part 10 of the standard."""
    return head[_MARK_AT:HEAD_BYTES] == MARK


def slice_of(header: Any, name: str) -> DicomSlice:
    """The slice that a file of one frame holds.

    Args:
        header: pydicom's data set of the file.
        name: of the file, for messages.
    """
    return placed_slice(header, name, None, header, header, header)


def placed_slice(
    header: Any, name: str, frame: int | None, measures: Any, orientation: Any, position: Any
) -> DicomSlice:
    """A slice by the data sets that hold the size of its pixels, its directions and its position.

    Args:
        header: of the file.
        name: of the file, for messages.
        frame: number of the slice in the file, from 0; None where it is all there is.
        measures: with the sizes of pixels and the distances of slices.
        orientation: with the directions.
        position: with the position of the first pixel.
    """
    sizes = next((s for key in _PIXEL_SIZES if len(s := _numbers(measures, key)) == 2 and min(s) > 0), None)
    if sizes is None:
        remark("no pixel size", name, "its header gives pixels no size; taken as 1 mm.")
    apart = _numbers(measures, "SpacingBetweenSlices") or _numbers(measures, "SliceThickness")
    directions, place = _numbers(orientation, "ImageOrientationPatient"), _numbers(position, "ImagePositionPatient")
    return DicomSlice(
        file=name,
        series=str(header.get("SeriesInstanceUID", "")),
        title=str(header.get("SeriesDescription") or header.get("SeriesNumber") or "without name"),
        shape=(int(header.Columns), int(header.Rows)),
        directions=tuple(directions) if len(directions) == 6 else None,
        position=tuple(place) if len(place) == 3 else None,
        pixel_size=(sizes[1], sizes[0]) if sizes else (1.0, 1.0),
        thickness=apart[0] if apart and apart[0] > 0 else 1.0,
        frame=frame,
    )


def pixels_of(found: Any, frame: int | None = None, rescale: Any = None) -> np.ndarray:
    """Values [columns, rows] as the file means them.

    They are rescaled; where the least is white (MONOCHROME1) inverted within what its bits can hold; pixels that only
    fill up the picture have the least of the other values.

    Args:
        found: pydicom's data set, with pixels.
        frame: number of the frame, from 0; None where there is one.
        rescale: the data set that says how values are rescaled; None for ``found``.
    """
    import numpy as np
    from pydicom.pixels import apply_modality_lut, pixel_array

    stored = found.pixel_array if frame is None else pixel_array(found, index=frame)
    filling, is_inverted = _filling(found, stored), found.get("PhotometricInterpretation") == _INVERTED
    if filling.any() and not filling.all():
        others = stored[~filling]
        stored = np.where(filling, others.max() if is_inverted else others.min(), stored)
    if is_inverted:
        ends = -1 if found.PixelRepresentation else 2**found.BitsStored - 1  # the least and the greatest together
        stored = (ends - stored.astype(np.int64)).astype(stored.dtype)
    values: np.ndarray = apply_modality_lut(stored, found if rescale is None else rescale)
    return values.astype(np.float32).T


def dataset(path: PathLike, with_pixels: bool) -> Any:
    """Pydicom's data set of a file.

    Raises:
        InputError: Where pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError("DICOM files need pydicom, which is not there: pip install 'leaf_seg[dicom]'.") from error
    return pydicom.dcmread(path, stop_before_pixels=not with_pixels)


def _filling(found: Any, stored: np.ndarray) -> np.ndarray:
    """Which pixels only fill up the picture, by the padding value or the range from it to its limit."""
    value = found.get("PixelPaddingValue")
    if value is None:
        return stored != stored
    other = found.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(other)))
    inside: np.ndarray = (stored >= low) & (stored <= high)
    return inside


def _numbers(header: Any, key: str) -> list[float]:
    """The numbers of an attribute; none where it is absent or empty."""
    value = header.get(key)
    if value is None or value == "":
        return []
    return [float(part) for part in (value if hasattr(value, "__iter__") else [value])]
