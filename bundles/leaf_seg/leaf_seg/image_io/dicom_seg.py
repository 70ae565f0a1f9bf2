"""Label maps of DICOM series as DICOM segmentations."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.dicom import dicom_files, dicom_stack
from leaf_seg.image_io.dicom_slice import dataset
from leaf_seg.image_io.formats import format_of
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, ensure_writable_folder, replacing
from leaf_seg.runtime.text import printable

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".seg.dcm"
_OWN_SCHEME = "99LEAF_SEG"  # 99 begins the schemes that are no standard's
_MOST_LETTERS = 64  # of a name in DICOM
_ABNORMAL = re.compile(r"lesion|tumou?r|polyp|cancer|carcinoma|nodule|metasta|edema|oedema|necro|cyst", re.IGNORECASE)
_SERIES_NUMBER = 300


def check_dicom_sources(sources: Sequence[PathLike]) -> None:
    """Find out before the first image that all are DICOM, and that what writes segmentations is there.

    Raises:
        InputError: When one is not, or highdicom is not installed.
    """
    for source in sources:
        if format_of(source).name != "DICOM":
            raise InputError(
                f"{printable(source)}: is no DICOM; expected DICOM files for output of the type dicom_seg, which "
                "refers to them. Leave --output_type out."
            )
    _highdicom()


def write_dicom_seg(
    label: np.ndarray, source: PathLike, folder: PathLike, class_names: Sequence[str], version: str
) -> Path:
    """Write a label map as a DICOM segmentation, with a binary segment for each class but the background.

    A structure whose English name SNOMED CT has ("liver") has its code, others one of leaf_seg's own.

    Args:
        label: class indices [X, Y, Z] in the grid of the source.
        source: DICOM file, folder or archive that was segmented.
        folder: output folder; made where needed.
        class_names: K names, background first.
        version: of leaf_seg.

    Returns:
        The file written, ``<case>.seg.dcm``.

    Raises:
        InputError: When highdicom is not installed, or the file cannot be written.
    """
    import numpy as np

    hd = _highdicom()
    path = ensure_writable_folder(folder) / f"{case_name(source)}{SUFFIX}"
    slices, order = _referred_to(source)
    segments = [_description(hd, number, name, version) for number, name in enumerate(class_names) if number]
    segmentation = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=np.ascontiguousarray(label.transpose(2, 1, 0)[order].astype(np.uint8)),  # frames, rows, columns
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="leaf_seg",
        manufacturer_model_name="leaf_seg",
        software_versions=version,
        device_serial_number="none",
        series_description="leaf_seg segmentation",
        omit_empty_frames=bool(label.any()),
    )
    with replacing(path) as temporary:
        segmentation.save_as(temporary)
    return path


def _referred_to(source: PathLike) -> tuple[list[Any], list[int]]:
    """The data sets of a source, and of each of their frames the number of its slice in the volume."""
    stack = dicom_stack(source).slices
    frames = {frame: number for number, (_, frame) in enumerate(stack)}
    names = [name for name, _ in stack] if None in frames else list({name: None for name, _ in stack})
    if None not in frames and len(names) > 1:
        raise InputError(
            f"{printable(source)}: its slices are the frames of {len(names)} DICOM files; expected one such file, or a "
            "file for each slice, for output of the type dicom_seg. Leave --output_type out."
        )
    with dicom_files(source) as files:
        found = [dataset(files[name], with_pixels=True) for name in names]
    return found, list(range(len(stack))) if None in frames else [frames[frame] for frame in range(len(stack))]


def _description(hd: Any, number: int, name: str, version: str) -> Any:
    from pydicom.sr.codedict import codes

    kind = codes.SCT.MorphologicallyAbnormalStructure if _ABNORMAL.search(name) else codes.SCT.AnatomicalStructure
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:_MOST_LETTERS],
        segmented_property_category=kind,
        segmented_property_type=_code(hd, number, name),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="leaf_seg", version=version, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _code(hd: Any, number: int, name: str) -> Any:
    """SNOMED CT's code of a structure by its English name, or one of leaf_seg's own."""
    from pydicom.sr.codedict import codes

    keyword = "".join(word.capitalize() for word in re.findall(r"[A-Za-z]+", name))
    if keyword and keyword in codes.SCT.dir(keyword):
        return getattr(codes.SCT, keyword)
    return hd.sr.CodedConcept(f"CLASS_{number}", _OWN_SCHEME, name[:_MOST_LETTERS])


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise InputError(
            "DICOM segmentations need highdicom, which is not there: pip install 'leaf_seg[dicom]'."
        ) from error
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells of every module of attributes that it copies
    return highdicom
