"""DICOM files as a scanner writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

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
