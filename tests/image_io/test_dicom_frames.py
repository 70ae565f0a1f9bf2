"""One DICOM file of several frames is a volume by what its frames say, or is refused in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless, UltrasoundMultiFrameImageStorage

from leaf_seg.image_io import image_files, list_images, read_grid, read_image
from leaf_seg.image_io.dicom_seg import write_dicom_seg
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.runtime.errors import InputError
from tests.image_io.dicom_files import SPACING, with_dimensions, write_enhanced, write_series, write_slice

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -1.2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])
ORDER: tuple[int, ...] = (2, 0, 3, 1)  # of slices in the file
Groups = Mapping[str, Mapping[str, Any]]


def position(index: int) -> tuple[float, ...]:
    return (-10.0, 20.0, 5.0 + index * SPACING[2])


def frames() -> list[np.ndarray]:
    return [np.ascontiguousarray(VOXELS[..., index].T) for index in ORDER]


def enhanced(path: Path, own: list[Groups] | None = None, **changes: Any) -> Path:
    return write_enhanced(path, frames(), [position(index) for index in ORDER], own, **changes)


def of_frame(group: str, **values: Any) -> Groups:
    return {f"{group}Sequence": values}


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
def test_frames_are_a_volume_by_their_positions(syntax: str | None, tmp_path: Path) -> None:
    """Each has a scale of its own."""
    own = [of_frame("PixelValueTransformation", RescaleSlope=index + 1, RescaleIntercept=-index) for index in ORDER]
    path = enhanced(tmp_path / "a.dcm", own)
    if syntax is not None:
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    image = read_image(path)
    np.testing.assert_array_equal(image[0], VOXELS * np.arange(1, 5) - np.arange(4))
    np.testing.assert_allclose(image.affine, AFFINE)
    assert read_grid(path).shape == VOXELS.shape
    assert list_images(path) == [{"image": str(path)}]
    write_slice(tmp_path / "folder" / "b.dcm", frames()[0], (0, 0, 0))
    assert image_files(tmp_path) == [path, tmp_path / "folder"]


def test_values_of_the_whole_file(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", PixelPaddingValue=int(VOXELS.max()), RescaleSlope=2, RescaleIntercept=1)
    expected = np.where(VOXELS.max() == VOXELS, VOXELS.min(axis=(0, 1)), VOXELS) * 2.0 + 1
    np.testing.assert_array_equal(read_image(path)[0], expected)
    path = enhanced(tmp_path / "b.dcm", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path)[0], -1 - VOXELS)


def test_a_series_that_was_converted_is_the_same_volume(tmp_path: Path) -> None:
    """By highdicom's writer of the standard's own conversion."""
    import highdicom

    kind = ["ORIGINAL", "PRIMARY", "AXIAL"]
    series = write_series(tmp_path / "series", VOXELS, RescaleSlope=2, RescaleIntercept=-24, ImageType=kind)
    slices = [pydicom.dcmread(file) for file in series.iterdir()]
    converted: Any = highdicom.legacy.LegacyConvertedEnhancedCTImage(slices, highdicom.UID(), 2, highdicom.UID(), 1)
    converted.save_as(tmp_path / "converted.dcm")
    image, expected = read_image(tmp_path / "converted.dcm"), read_image(series)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_allclose(image.affine, expected.affine)


def test_the_parts_of_a_volume_may_be_in_several_files(tmp_path: Path) -> None:
    for name, part in (("b.dcm", slice(0, 2)), ("a.dcm", slice(2, 4))):
        write_enhanced(tmp_path / "s" / name, frames()[part], [position(index) for index in ORDER[part]])
    image = read_image(tmp_path / "s")
    np.testing.assert_array_equal(image[0], VOXELS)
    with pytest.raises(InputError, match="its slices are the frames of 2 DICOM files; expected one such file"):
        write_dicom_seg(np.ones(VOXELS.shape, np.uint8), tmp_path / "s", tmp_path, ["background", "a"], "0")


def test_segmentations_refer_to_the_frames(tmp_path: Path) -> None:
    """Read back where they are in space."""
    import highdicom

    path = enhanced(tmp_path / "a.dcm", ContentDate="20200101", ContentTime="120000")
    label = (np.random.default_rng(1).random(VOXELS.shape) > 0.7).astype(np.uint8)
    label[:, :, 1] = 0
    names = ["background", "liver"]
    writer = SegmentationWriter(tmp_path / "out", names, save_overlays=False, output_type="dicom_seg")
    writer.begin([str(path)])
    writer.save(str(path), {"pred": label[None]})
    nifti: Any = nib.load(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(nifti.dataobj), label)
    np.testing.assert_allclose(nifti.affine, AFFINE)

    found = highdicom.seg.segread(tmp_path / "out" / "a.seg.dcm")
    volume = found.get_volume(combine_segments=True)
    to_ras = np.diag([-1, -1, 1, 1]) @ volume.affine
    here = np.argwhere(label) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    there = np.argwhere(volume.array) @ to_ras[:3, :3].T + to_ras[:3, 3]
    assert {tuple(row) for row in here.round(3) + 0.0} == {tuple(row) for row in there.round(3) + 0.0}
    with pytest.raises(InputError, match=r"a\.seg\.dcm is a DICOM segmentation; expected an image"):
        read_image(tmp_path / "out" / "a.seg.dcm")


def twice(path: Path, group: str, keyword: str, values: tuple[Any, Any]) -> Path:
    own = [of_frame(group, **{keyword: value}) for value in values for _ in ORDER]
    return write_enhanced(path, frames() * 2, [position(index) for index in ORDER] * 2, own)


def of_stacks(path: Path) -> Path:
    return enhanced(path, [of_frame("FrameContent", StackID=stack) for stack in ("1", "1", "2", "2")])


def of_triggers(path: Path) -> Path:
    own = [of_frame("FrameContent", DimensionIndexValues=[index, time]) for time in (1, 2) for index in ORDER]
    write_enhanced(path, frames() * 2, [position(index) for index in ORDER] * 2, own)
    return with_dimensions(path, "ImagePositionPatient", "NominalCardiacTriggerDelayTime")


def of_nothing(path: Path) -> Path:
    return write_enhanced(path, frames(), [position(0)] * 4)


def turned(path: Path) -> Path:
    own = [of_frame("PlaneOrientation", ImageOrientationPatient=[0, 1, 0, 0, 0, 1]), *[{}] * 3]
    return enhanced(path, own)


def lacking(path: Path) -> Path:
    return write_enhanced(path, frames(), [position(index) for index in (0, 1, 2, 4)])


def film(path: Path) -> Path:
    write_slice(path, np.stack(frames())[0], (0, 0, 0), NumberOfFrames=4, ImagePositionPatient=None)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.PixelData = np.stack(frames()).tobytes()
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (of_stacks, r"a\.dcm is a DICOM of 4 frames in 2 stacks \(1, 2\); expected one volume"),
        (
            lambda path: twice(path, "FrameContent", "TemporalPositionIndex", (1, 2)),
            r"a\.dcm is a DICOM of 8 frames at 4 places in space \(2 time points: 1, 2\); expected one volume",
        ),
        (
            lambda path: twice(path, "MREcho", "EffectiveEchoTime", (10.0, 80.0)),
            r"8 frames at 4 places in space \(2 echo times: 10\.0, 80\.0\)",
        ),
        (
            lambda path: twice(path, "MRDiffusion", "DiffusionBValue", (0.0, 1000.0)),
            r"8 frames at 4 places in space \(2 b-values: 0\.0, 1000\.0\)",
        ),
        (of_triggers, r"8 frames at 4 places in space \(several NominalCardiacTriggerDelayTime\)"),
        (of_nothing, r"4 frames at 1 places in space \(it does not say why\)"),
        (turned, "slices of several directions"),
        (lacking, r"slices are missing \(1\)"),
        (
            film,
            r"4 frames \(Ultrasound Multi-frame Image Storage\) that do not say where they lie",
        ),
    ],
)
def test_frames_that_are_no_volume(write: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^[^\n]*a\.dcm: [^\n]*{words}[^\n]*$"):
        read_image(write(tmp_path / "a.dcm"))
