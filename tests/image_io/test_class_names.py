"""Label maps say what their classes are called, where their format can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest

from leaf_seg.image_io import read_image, write_image, write_label, write_map
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from tests.image_io.dicom_files import write_series

NAMES = ["background", "left/right atrium", "Öse := 🫀"]
LABEL = np.random.default_rng(0).integers(0, 3, (5, 6, 4)).astype(np.uint8)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])


def nifti(path: Path, kind: Any = nib.Nifti1Image) -> Path:
    """With an extension that says who the patient is."""
    image = kind(LABEL.astype(np.int16), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    path.parent.mkdir(exist_ok=True)
    nib.save(image, path)
    return path


def names_of(path: Path) -> list[dict[str, Any]]:
    image: Any = nib.load(path)
    assert {extension.get_code() for extension in image.header.extensions} <= {6}
    return [json.loads(extension.get_content()) for extension in image.header.extensions]


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_holds_them_in_a_comment(kind: Any, name: str, tmp_path: Path) -> None:
    source = nifti(tmp_path / "images" / name, kind)
    path = write_label(LABEL, source, tmp_path / "out", NAMES)
    assert names_of(path) == [{"labels": dict(zip("012", NAMES, strict=True))}]
    written: Any = nib.load(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), LABEL)
    np.testing.assert_array_equal(read_image(path, is_label=True)[0], LABEL)
    if kind is nib.Nifti1Image:  # this ITK reads no NIfTI-2 of nibabel's, with or without them
        np.testing.assert_array_equal(itk.array_view_from_image(itk.imread(str(path))).T, LABEL)
    for other in (write_label(LABEL, source, tmp_path / "none"), write_map(LABEL, source, tmp_path / "out", "map")):
        assert names_of(other) == []


def test_results_of_a_model_hold_them(tmp_path: Path) -> None:
    sources = [str(nifti(tmp_path / "images" / "a.nii.gz")), str(write_series(tmp_path / "series", LABEL.astype("i2")))]
    writer = SegmentationWriter(tmp_path / "out", NAMES, save_overlays=False)
    writer.begin(sources)
    for source, name in zip(sources, ("a", "series"), strict=True):
        writer.save(source, {"pred": LABEL[None]})
        assert names_of(tmp_path / "out" / f"{name}.nii.gz") == [{"labels": dict(zip("012", NAMES, strict=True))}]


def test_nrrd_holds_them_as_3d_slicer_names_segments(tmp_path: Path) -> None:
    write_image(LABEL.astype(np.int16), tmp_path / "a.nrrd", AFFINE)
    path = write_label(LABEL, tmp_path / "a.nrrd", tmp_path / "out", NAMES)
    lines = path.read_bytes().partition(b"\n\n")[0].decode().splitlines()
    for number, (value, name) in enumerate(zip((1, 2), NAMES[1:], strict=True)):
        fields = {"ID": f"Segment_{value}", "Name": name, "LabelValue": value, "Layer": 0}
        assert {f"Segment{number}_{field}:={text}" for field, text in fields.items()} <= set(lines)
    assert not any(line.startswith("Segment2") for line in lines)
    np.testing.assert_array_equal(read_image(path, is_label=True)[0], LABEL)
    np.testing.assert_array_equal(itk.array_view_from_image(itk.imread(str(path))).T, LABEL)
