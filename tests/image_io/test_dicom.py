"""DICOM series become one volume, or are refused in one line; results are NIfTI and DICOM segmentations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from leaf_seg import Segmenter
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io import case_name, image_files, list_images, read_grid, read_image
from leaf_seg.image_io.dicom_seg import write_dicom_seg
from leaf_seg.inference.segment_files import segment_files
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from tests.image_io.dicom_files import SPACING, write_series, write_slice

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
SLICE = np.arange(12, dtype=np.uint16).reshape(3, 4)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -1.2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "series", VOXELS, RescaleSlope=2, RescaleIntercept=-24)


def of_slice(path: Path, **changes: Any) -> np.ndarray:
    return read_image(write_slice(path / "a.dcm", SLICE, (0, 0, 0), **changes))[0, ..., 0].numpy().T


def test_a_series_is_a_volume(series: Path, tmp_path: Path) -> None:
    (series / "DICOMDIR").write_bytes(b"no pixels")
    (series / "notes.txt").write_text("no DICOM")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    for source in (series, Path(archive)):
        image = read_image(source)
        np.testing.assert_array_equal(image[0], VOXELS * 2.0 - 24)
        np.testing.assert_allclose(image.affine, AFFINE)
        assert read_grid(source).shape == VOXELS.shape


def test_a_tilted_gantry_is_a_sheared_volume(tmp_path: Path) -> None:
    for index in range(4):
        write_slice(tmp_path / "s" / f"{index}", VOXELS[..., index].T.copy(), (0, 0.7 * index, 2.5 * index))
    affine = read_grid(tmp_path / "s").affine
    assert affine is not None
    np.testing.assert_allclose(affine[:3, 2], [0, -0.7, 2.5])


def test_what_is_listed(series: Path, tmp_path: Path) -> None:
    assert list_images(series) == [{"image": str(series)}]
    assert image_files(tmp_path) == [series]
    assert case_name(series) == "series"
    shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    (tmp_path / "other.zip").write_bytes(b"PK\x03\x04")
    assert [path.name for path in image_files(tmp_path)] == ["packed.zip", "series"]
    assert case_name(tmp_path / "packed.zip") == "packed"
    for number in range(3):
        write_slice(tmp_path / "x-rays" / f"{number}.dcm", SLICE, (0, 0, 0), SeriesInstanceUID=f"1.2.{number}")
    assert [Path(case["image"]).name for case in list_images(tmp_path / "x-rays")] == ["0.dcm", "1.dcm", "2.dcm"]


def test_values_are_as_the_file_means_them(tmp_path: Path) -> None:
    np.testing.assert_array_equal(of_slice(tmp_path), SLICE)
    inverted = of_slice(tmp_path, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(inverted, 4095 - SLICE)
    rescaled = of_slice(tmp_path, PhotometricInterpretation="MONOCHROME1", RescaleSlope=0.5, RescaleIntercept=-3)
    np.testing.assert_array_equal(rescaled, (65535 - SLICE.astype(int)) / 2 - 3)
    np.testing.assert_array_equal(
        of_slice(tmp_path, PixelPaddingValue=0, RescaleIntercept=-5), np.maximum(SLICE, 1) - 5.0
    )
    filled = of_slice(tmp_path, PixelPaddingValue=int(SLICE.max()), PhotometricInterpretation="MONOCHROME1")
    others = SLICE[SLICE.max() > SLICE]
    np.testing.assert_array_equal(filled, 65535 - np.minimum(SLICE, others.max()).astype(int))  # the least, inverted


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels(syntax: str, tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", np.tile(SLICE, (20, 20)), (0, 0, 0))
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_image(path)[0, ..., 0].T, np.tile(SLICE, (20, 20)))


def removed(folder: Path) -> None:
    (folder / "IM0001").unlink()


def doubled(folder: Path) -> None:
    write_slice(folder / "echo", VOXELS[..., 0].T.copy(), (-10, 20, 5))


def of_another_series(folder: Path) -> None:
    write_slice(folder / "b", VOXELS[..., 0].T.copy(), (0, 0, 0), SeriesInstanceUID="1.9", SeriesDescription="scout")


def with_a_localizer(folder: Path) -> None:
    write_slice(folder / "b", VOXELS[..., 0].T.copy(), (0, 0, 0), ImageOrientationPatient=[0, 1, 0, 0, 0, 1])


def of_another_size(folder: Path) -> None:
    write_slice(folder / "b", np.zeros((3, 3), np.int16), (-10, 20, 15))


def without_place(folder: Path) -> None:
    write_slice(folder / "b", VOXELS[..., 0].T.copy(), (0, 0, 0), ImagePositionPatient=None)


def of_frames(folder: Path) -> None:
    write_slice(folder / "b", VOXELS[..., 0].T.copy(), (0, 0, 0), NumberOfFrames=7)


def of_colours(folder: Path) -> None:
    write_slice(folder / "b", VOXELS[..., 0].T.copy(), (0, 0, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB")


def truncated(folder: Path) -> None:
    path = folder / "IM0001"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            removed,
            r"slices are missing \(1\) between the places 7\.5 and 12\.5 mm along the series, whose slices are 2\.5",
        ),
        (doubled, "2 or more slices lie at the same place, as time points or echoes do"),
        (
            of_another_series,
            r"files of 2 DICOM series: '1' \(4 files\), 'scout' \(1 files\)",
        ),
        (with_a_localizer, "slices of several directions, as with a localizer"),
        (of_another_size, r"slices of 2 sizes: \(3, 3\), \(5, 6\)"),
        (without_place, "5 DICOM files that do not say where they lie"),
        (of_frames, r"b is a DICOM of 7 frames \(CT Image Storage\) that do not say where they lie in the patient"),
        (of_colours, r"b is a DICOM of colours \(RGB\)"),
        (truncated, "cannot be read"),
    ],
)
def test_series_that_are_no_volume(change: Callable[[Path], None], words: str, series: Path) -> None:
    change(series)
    with pytest.raises(InputError, match=rf"^[^\n]*series: [^\n]*({words})[^\n]*$"):
        read_image(series)


def test_no_dicom_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"packed\.zip: no DICOM image there"):
        read_image(archive)


def test_segmentations_in_dicom(series: Path, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    """Coded segments, read back where they are in space."""
    import highdicom

    names = ["background", "liver", "odd tumour"]
    segmenter = Segmenter(make_segmenter(), ModelSettings(names, (16, 16)), device="cpu")
    writer = SegmentationWriter(tmp_path / "out", names, save_overlays=False, output_type="dicom_seg")
    segment_files(segmenter, [str(series)], writer)
    written: Any = nib.load(tmp_path / "out" / "series.nii.gz")
    label = np.asarray(written.dataobj)
    np.testing.assert_allclose(written.affine, AFFINE)
    write_dicom_seg(label, series, tmp_path / "out", names, "0")

    found = highdicom.seg.segread(tmp_path / "out" / "series.seg.dcm")
    assert {item.ReferencedSOPInstanceUID for item in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    codes = [found.get_segment_description(number).segmented_property_type for number in (1, 2)]
    assert [(code.value, code.scheme_designator, code.meaning) for code in codes] == [
        ("10200004", "SCT", "Liver"),
        ("CLASS_2", "99LEAF_SEG", "odd tumour"),
    ]
    volume = found.get_volume(combine_segments=True)
    to_ras = np.diag([-1, -1, 1, 1]) @ volume.affine
    for value in (1, 2):
        here = np.argwhere(label == value) @ written.affine[:3, :3].T + written.affine[:3, 3]
        there = np.argwhere(volume.array == value) @ to_ras[:3, :3].T + to_ras[:3, 3]
        assert {tuple(row) for row in here.round(3) + 0.0} == {tuple(row) for row in there.round(3) + 0.0}


def test_dicom_segmentations_need_dicom(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), tmp_path / "a.nii")
    writer = SegmentationWriter(tmp_path / "out", ["background", "a"], save_overlays=False, output_type="dicom_seg")
    with pytest.raises(InputError, match=r"a\.nii: is no DICOM; expected DICOM files for output of the type dicom_seg"):
        writer.begin([str(tmp_path / "a.nii")])
    with pytest.raises(InputError, match="output_type is 'rtstruct'; expected one of image, dicom_seg"):
        SegmentationWriter(tmp_path / "out", ["background", "a"], output_type="rtstruct")


@pytest.mark.slow
def test_gdcm_places_a_series_alike(series: Path) -> None:
    import itk

    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(series))
    image: Any = itk.imread(list(names.GetFileNames(names.GetSeriesUIDs()[0])))
    np.testing.assert_array_equal(itk.array_view_from_image(image).T, VOXELS * 2.0 - 24)
    np.testing.assert_allclose(list(image.GetSpacing()), SPACING)
    np.testing.assert_allclose(np.array(image.GetOrigin()) * [-1, -1, 1], AFFINE[:3, 3])
