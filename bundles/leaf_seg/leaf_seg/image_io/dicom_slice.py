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
_MONOCHROME, _INVERTED = ("MONOCHROME1", "MONOCHROME2"), "MONOCHROME1"


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
    """

    file: str
    series: str
    title: str
    shape: tuple[int, int]
    directions: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixel_size: tuple[float, float]
    thickness: float


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one, by the mark of part 10 of the standard."""
    return head[_MARK_AT:HEAD_BYTES] == MARK


def read_slice(path: PathLike, name: str) -> DicomSlice | None:
    """Read a file's header.

    Args:
        path: the file, which :func:`is_dicom`.
        name: of the file, for messages.

    Returns:
        None for a file without pixels: a report, a DICOMDIR.

    Raises:
        InputError: For colours, several frames, and where pydicom is not installed.
    """
    header = dataset(path, with_pixels=False)
    if not header.get("Rows"):
        return None
    kind = header.get("PhotometricInterpretation", "MONOCHROME2")
    if int(header.get("SamplesPerPixel", 1)) != 1 or kind not in _MONOCHROME:
        raise InputError(f"{name} is a DICOM of colours ({kind}); expected grey values. Export it as PNG.")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise InputError(
            f"{name} is a DICOM of {header.NumberOfFrames} frames; expected a file for each slice. Convert it to "
            "NIfTI, for example by dcm2niix."
        )
    sizes = next((s for key in _PIXEL_SIZES if len(s := _numbers(header, key)) == 2 and min(s) > 0), None)
    if sizes is None:
        remark("no pixel size", name, "its header gives pixels no size; taken as 1 mm.")
    apart = _numbers(header, "SpacingBetweenSlices") or _numbers(header, "SliceThickness")
    directions, position = _numbers(header, "ImageOrientationPatient"), _numbers(header, "ImagePositionPatient")
    return DicomSlice(
        file=name,
        series=str(header.get("SeriesInstanceUID", "")),
        title=str(header.get("SeriesDescription") or header.get("SeriesNumber") or "without name"),
        shape=(int(header.Columns), int(header.Rows)),
        directions=tuple(directions) if len(directions) == 6 else None,
        position=tuple(position) if len(position) == 3 else None,
        pixel_size=(sizes[1], sizes[0]) if sizes else (1.0, 1.0),
        thickness=apart[0] if apart and apart[0] > 0 else 1.0,
    )


def read_pixels(path: PathLike) -> np.ndarray:
    """Values [columns, rows] as the file means them.

    They are rescaled; where the least is white (MONOCHROME1) inverted within what its bits can hold; pixels that only
    fill up the picture have the least of the other values.
    """
    import numpy as np
    from pydicom.pixels import apply_modality_lut

    found = dataset(path, with_pixels=True)
    stored = found.pixel_array
    filling, is_inverted = _filling(found, stored), found.get("PhotometricInterpretation") == _INVERTED
    if filling.any() and not filling.all():
        others = stored[~filling]
        stored = np.where(filling, others.max() if is_inverted else others.min(), stored)
    if is_inverted:
        ends = -1 if found.PixelRepresentation else 2**found.BitsStored - 1  # the least and the greatest together
        stored = (ends - stored.astype(np.int64)).astype(stored.dtype)
    values: np.ndarray = apply_modality_lut(stored, found)
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
