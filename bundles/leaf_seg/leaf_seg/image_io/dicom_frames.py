"""DICOM files of several frames: enhanced CT, MR and PET, whose frames say where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaf_seg.image_io.dicom_slice import DicomSlice, dataset, placed_slice, slice_of
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import shortened

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_DIGITS = 3  # of positions in mm, by which frames lie at the same place
# What tells frames at one place apart: words, and the group and attribute that have them.
_DIFFERENCES = (
    ("time points", "FrameContentSequence", "TemporalPositionIndex"),
    ("echo times", "MREchoSequence", "EffectiveEchoTime"),
    ("b-values", "MRDiffusionSequence", "DiffusionBValue"),
    ("parts of complex numbers", "MRImageFrameTypeSequence", "ComplexImageComponent"),
)
_IN_SPACE = ("StackID", "InStackPositionNumber", "ImagePositionPatient")


def read_slices(path: PathLike, name: str) -> list[DicomSlice]:
    """Read the header of a file.

    Args:
        path: the file, which is DICOM.
        name: of the file, for messages.

    Returns:
        Its slices, in the order of its frames; none of a file without pixels: a report, a DICOMDIR.

    Raises:
        InputError: For colours, segmentations, frames that lie nowhere or are no single volume, and where pydicom is
            not installed.
    """
    header = dataset(path, with_pixels=False)
    if not header.get("Rows"):
        return []
    kind = header.get("PhotometricInterpretation", "MONOCHROME2")
    if int(header.get("SamplesPerPixel", 1)) != 1 or kind not in _MONOCHROME:
        raise InputError(f"{name} is a DICOM of colours ({kind}); expected grey values. Export it as PNG.")
    if header.get("Modality") == "SEG":
        raise InputError(f"{name} is a DICOM segmentation; expected an image, or labels as NIfTI. Convert it.")
    number = int(header.get("NumberOfFrames") or 1)
    if _groups(header, 0, "PlanePositionSequence") is None:
        if number == 1:
            return [slice_of(header, name)]
        what = getattr(header.get("SOPClassUID"), "name", "of an unknown kind")
        raise InputError(
            f"{name} is a DICOM of {number} frames ({what}) that do not say where they lie in the patient, like films "
            "of ultrasound and X-ray; expected enhanced CT, MR or PET, or a file for each slice. Save single frames as "
            "PNG, or a volume as NIfTI."
        )
    slices = [_slice(header, name, frame) for frame in range(number)]
    _check_one_volume(header, name, slices)
    return slices


def rescaling_of(header: Any, frame: int | None) -> Any:
    """The data set that says how the values of a frame are rescaled; the file's own where no group of frames does."""
    group = None if frame is None else _groups(header, frame, "PixelValueTransformationSequence")
    return header if group is None else group


def _slice(header: Any, name: str, frame: int) -> DicomSlice:
    measures, orientation, position = (
        _groups(header, frame, f"{group}Sequence") for group in ("PixelMeasures", "PlaneOrientation", "PlanePosition")
    )
    return placed_slice(header, name, frame, measures or {}, orientation or {}, position or {})


def _groups(header: Any, frame: int, name: str) -> Any:
    """What is said of a frame under a name, of it alone or of all; None where nothing is."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for said in (own[frame] if own else None, shared[0] if shared else None):
        if said is not None and said.get(name):
            return said[name][0]
    return None


def _check_one_volume(header: Any, name: str, slices: Sequence[DicomSlice]) -> None:
    """Refuse several stacks, and frames at the same place, by what tells them apart."""
    stacks = _values(header, len(slices), "FrameContentSequence", "StackID")
    places = len({_rounded(s.position) for s in slices})
    if len(stacks) > 1:
        found = f"{len(slices)} frames in {len(stacks)} stacks ({shortened(stacks)})"
    elif places < len(slices):
        found = f"{len(slices)} frames at {places} places in space ({_differences(header, len(slices))})"
    else:
        return
    raise InputError(f"{name} is a DICOM of {found}; expected one volume. Save each as a series or NIfTI of its own.")


def _differences(header: Any, number: int) -> str:
    """In words, what tells frames at one place apart."""
    found = []
    for words, group, keyword in _DIFFERENCES:
        if len(values := _values(header, number, group, keyword)) > 1:
            found.append(f"{len(values)} {words}: {shortened(values)}")
    return "; ".join(found or [f"several {name}" for name in _dimensions(header, number)]) or "it does not say why"


def _dimensions(header: Any, number: int) -> list[str]:
    """The dimensions, other than those in space, by which the file orders its frames and of which it has several."""
    from pydicom.datadict import keyword_for_tag

    pointers = [item.get("DimensionIndexPointer") for item in header.get("DimensionIndexSequence") or []]
    names = [(pointer and keyword_for_tag(pointer)) or str(pointer) for pointer in pointers]
    content = [_groups(header, frame, "FrameContentSequence") for frame in range(number)]
    rows = [list(item.get("DimensionIndexValues") or []) for item in content if item is not None]
    return [
        name
        for column, name in enumerate(names)
        if name not in _IN_SPACE and len({row[column] for row in rows if column < len(row)}) > 1
    ]


def _values(header: Any, number: int, group: str, keyword: str) -> list[str]:
    """The values of an attribute that frames have, each once."""
    said = (_groups(header, frame, group) for frame in range(number))
    return list({str(item.get(keyword)): None for item in said if item is not None and item.get(keyword) is not None})


def _rounded(position: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) + 0.0 for value in position or ())
