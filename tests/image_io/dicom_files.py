"""DICOM files as a scanner writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

ROW, COLUMN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
SPACING = (0.8, 1.2, 2.5)  # along a row, down a column, between slices


def write_slice(path: Path, stored: np.ndarray, position: tuple[float, ...], **changes: Any) -> Path:
    """A slice [rows, columns] of int16 or uint16; ``changes`` are other values of attributes, None leaves one out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "Modality": "CT",
        "PatientID": "p",
        "PatientName": "P",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": "1.2.3",
        "StudyID": "",
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": 1,
        "FrameOfReferenceUID": "1.2.3.5",
        "PositionReferenceIndicator": "",
        "InstanceNumber": 1,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "PixelSpacing": [SPACING[1], SPACING[0]],
        "SliceThickness": SPACING[2],
        "ImageOrientationPatient": [*ROW, *COLUMN],
        "ImagePositionPatient": list(position),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    for name, value in (values | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, voxels: np.ndarray, **changes: Any) -> Path:
    """A volume [columns, rows, slices], the last slice first, under names that say nothing."""
    for number, index in enumerate(reversed(range(voxels.shape[2]))):
        place = (-10.0, 20.0, 5.0 + index * SPACING[2])
        write_slice(folder / f"IM{number:04}", np.ascontiguousarray(voxels[..., index].T), place, **changes)
    return folder


def grouped(groups: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """A data set of sequences with one item each."""
    dataset = Dataset()
    for name, values in groups.items():
        item = Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        setattr(dataset, name, [item])
    return dataset


def write_enhanced(
    path: Path,
    frames: Sequence[np.ndarray],
    positions: Sequence[tuple[float, ...]],
    own: Sequence[Mapping[str, Mapping[str, Any]]] | None = None,
    directions: Sequence[float] = (*ROW, *COLUMN),
    spacing: Sequence[float] = SPACING,
    **changes: Any,
) -> Path:
    """Enhanced MR: frames [rows, columns] with their positions; ``own`` are further groups of each frame.

    ``changes`` are other values of attributes of the file, as in :func:`write_slice`.
    """
    of_slices = ["PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"]
    of_slices += ["RescaleSlope", "RescaleIntercept"]
    attributes = {**dict.fromkeys(of_slices), "Modality": "MR", **changes}
    write_slice(path, frames[0], (0, 0, 0), **attributes)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(frames)
    shared: dict[str, dict[str, Any]] = {
        "PixelMeasuresSequence": {
            "PixelSpacing": [spacing[1], spacing[0]],
            "SliceThickness": spacing[2],
            "SpacingBetweenSlices": spacing[2],
        },
        "PlaneOrientationSequence": {"ImageOrientationPatient": list(directions)},
    }
    dataset.SharedFunctionalGroupsSequence = [grouped(shared)]
    dataset.PerFrameFunctionalGroupsSequence = [
        grouped({"PlanePositionSequence": {"ImagePositionPatient": list(position)}, **more})
        for position, more in zip(positions, own or [{}] * len(frames), strict=True)
    ]
    dataset.PixelData = np.stack(frames).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def with_dimensions(path: Path, *keywords: str) -> Path:
    """The file with dimensions, whose values stand in its frames."""
    dataset = pydicom.dcmread(path)
    dataset.DimensionIndexSequence = []
    for keyword in keywords:
        item = Dataset()
        item.DimensionIndexPointer = tag_for_keyword(keyword)
        dataset.DimensionIndexSequence.append(item)
    dataset.save_as(path)
    return path
