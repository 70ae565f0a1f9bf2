from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import write_image
from leaf_seg.image_io.nrrd import read_nrrd
from leaf_seg.runtime.errors import InputError
from lib import label_files
from lib.label_files import EXTENSIONS, class_indices, read_label, write_result
from lib.label_meaning import label_meaning
from lib.predictions import Predictions
from plugins.monailabel.tests.conftest import OBLIQUE

NAMES = ("background", "head", "tail")
SHEAR = np.eye(4) + np.array([[0, 0.2, 0, 0], [0] * 4, [0] * 4, [0] * 4])
FAR = np.eye(4) + np.array([[0, 0, 0, 1e10]] * 3 + [[0] * 4])  # further than its axes are exact


@pytest.fixture
def volume(tmp_path: Path) -> str:
    file = tmp_path / "volume.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), OBLIQUE), file)
    return str(file)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    file = tmp_path / "picture.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(file)
    return str(file)


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd"])
def test_results_lie_where_their_image_does(volume: str, extension: str) -> None:
    label = np.random.default_rng(0).integers(0, 3, (5, 6, 7), dtype=np.uint8)
    file = write_result(label, volume, extension)
    image, result = itk.imread(volume), itk.imread(file)
    assert itk.size(result) == itk.size(image)
    assert np.allclose(result.GetOrigin(), image.GetOrigin(), atol=1e-5)
    assert np.allclose(result.GetSpacing(), image.GetSpacing(), atol=1e-6)
    assert np.allclose(itk.array_from_matrix(result.GetDirection()), itk.array_from_matrix(image.GetDirection()))
    assert np.array_equal(read_label(file, volume), label)
    os.unlink(file)


@pytest.mark.parametrize("extension", [".nii.gz", ".nii"])
def test_label_maps_hold_the_names_of_their_classes(volume: str, extension: str) -> None:
    file = write_result(np.zeros((5, 6, 7), np.uint8), volume, extension, NAMES)
    written: Any = nib.load(file)
    (comment,) = written.header.extensions
    assert json.loads(comment.get_content()) == {"labels": {"0": "background", "1": "head", "2": "tail"}}
    os.unlink(file)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("change", [np.diag([1e30, 1e30, 1e30, 1]), SHEAR, FAR])
def test_grids_that_itk_does_not_read_from_nifti(tmp_path: Path, suffix: str, extension: str, change: Any) -> None:
    source, affine = tmp_path / f"volume{suffix}", (OBLIQUE @ change).astype(np.float32)
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), affine), source)
    label = np.random.default_rng(0).integers(0, 3, (5, 6, 7), dtype=np.uint8)
    for values in (label, label / np.float32(2)):
        file = write_result(values, str(source), extension)
        result = itk.imread(file) if extension == ".nrrd" else None
        nifti: Any = None if result is not None else nib.load(file)
        assert np.array_equal(nifti.dataobj if result is None else itk.array_from_image(result).T, values)
        if extension == ".nrrd" and change is not FAR:
            assert np.array_equal(read_nrrd(file)[0], values)
            assert np.allclose(read_nrrd(file)[1], affine, rtol=1e-5)
        os.unlink(file)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd"])
def test_an_answer_that_cannot_be_written_leaves_no_file(
    volume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("trouble")  # as ITK has it

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for module, name in ((itk, "imwrite"), (nib, "save"), (label_files, "write_label")):
        monkeypatch.setattr(module, name, fail)
    with pytest.raises((RuntimeError, OSError)):
        write_result(np.zeros((5, 6, 7), np.uint8), volume, extension)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd"])
def test_labels_of_pictures_are_one_slice_in_itk_order(picture: str, extension: str) -> None:
    label = np.arange(24, dtype=np.uint8).reshape(4, 6)
    file = write_result(label, picture, extension)
    result = itk.imread(file)
    assert list(itk.size(result)) == [6, 4, 1]
    assert np.array_equal(itk.array_from_image(result)[0], label)  # as ITK reads the picture itself
    assert np.allclose(result.GetOrigin(), 0)
    assert np.allclose(itk.array_from_matrix(result.GetDirection()), np.eye(3))
    assert np.array_equal(read_label(file, picture), label)
    os.unlink(file)


def test_labels_of_pictures_may_be_png(picture: str, tmp_path: Path) -> None:
    label = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(label).save(tmp_path / "label.png")
    assert np.array_equal(read_label(str(tmp_path / "label.png"), picture), label)


def test_labels_of_another_grid(volume: str, tmp_path: Path) -> None:
    file = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 8), np.uint8), OBLIQUE), file)
    with pytest.raises(InputError, match=r"size \(5, 6, 8\), its image .* \(5, 6, 7\)"):
        read_label(str(file), volume)
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.eye(4)), file)
    with pytest.raises(InputError, match=r"lies elsewhere .* differ by up to 30"):
        read_label(str(file), volume)
    nib.save(nib.Nifti1Image(np.full((5, 6, 7), 0.5, np.float32), OBLIQUE), file)
    with pytest.raises(InputError, match="no whole numbers"):
        read_label(str(file), volume)
    nib.save(nib.Nifti1Image(np.full((5, 6, 7), np.inf, np.float32), OBLIQUE), file)
    with pytest.raises(InputError, match="210 of 210 values are NaN or infinite"):
        read_label(str(file), volume)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        read_label(str(file), volume)


def test_structures_are_told_apart_by_name() -> None:
    label = np.array([0, 1, 2])
    assert class_indices(label, [], NAMES).tolist() == [0, 1, 2]
    turned = [{"name": "tail", "idx": 1}, {"name": "head", "idx": 2}]
    assert class_indices(label, turned, NAMES).tolist() == [0, 2, 1]
    # Slicer counts a segment that it leaves out in "idx", but not in the values.
    shifted = [{"name": "head", "idx": 2}, {"name": "tail", "idx": 3}]
    assert class_indices(label, shifted, NAMES).tolist() == [0, 1, 2]
    assert class_indices(np.array([0, 5]), [{"name": "tail", "idx": 5}], NAMES).tolist() == [0, 2]


def test_other_programs_may_list_structures_in_any_order() -> None:
    turned = [{"name": "tail", "idx": 2}, {"name": "head", "idx": 1}]
    assert class_indices(np.array([0, 1, 2]), turned, NAMES).tolist() == [0, 1, 2]
    with_background = [{"name": "background", "idx": 0}, {"name": "head", "idx": 1}]
    assert class_indices(np.array([0, 1]), with_background, NAMES).tolist() == [0, 1]


def test_structures_that_may_be_either() -> None:
    shifted = [{"name": "head", "idx": 2}, {"name": "tail", "idx": 3}]  # by position the value 2 is the tail
    with pytest.raises(InputError, match="not clear which structure is meant"):
        class_indices(np.array([0, 2]), shifted, NAMES)


@pytest.mark.parametrize(
    ("values", "indices"),
    [
        ([1, 2], {"background": 0, "head": 1}),  # by position, 1 would be erased and 2 the head
        ([1, 2, 3], {"background": 0, "head": 1, "tail": 2}),  # by position, all would be shifted
        ([1, 4], {"head": 1, "tail": 3}),
        ([1, 2], {"tail": 3, "head": 1}),  # no order of Slicer's
        ([1, 2], {"head": 0, "tail": 1}),
        ([1], {"head": 0, "tail": 1}),  # 0 is the background
    ],
)
def test_no_value_gets_the_name_of_another(values: list[int], indices: dict[str, int]) -> None:
    label_info = [{"name": name, "idx": index} for name, index in indices.items()]
    with pytest.raises(InputError, match=r"without a name|which is the background"):
        class_indices(np.array(values), label_info, NAMES)


def test_a_segment_that_slicer_left_out_in_the_middle() -> None:
    names = ("background", "a", "b", "c")
    label_info = [{"name": "a", "idx": 1}, {"name": "b", "idx": 3}, {"name": "c", "idx": 4}]
    assert class_indices(np.array([1, 2, 3]), label_info, names).tolist() == [1, 2, 3]  # 2 has no name by idx
    assert class_indices(np.array([1, 3, 4]), label_info, names).tolist() == [1, 2, 3]  # 4 has none by position
    assert class_indices(np.array([0, 1]), label_info, names).tolist() == [0, 1]  # the same in both readings
    with pytest.raises(InputError, match="not clear which structure is meant"):
        class_indices(np.array([1, 3]), label_info, names)


@pytest.mark.parametrize(
    "label_info",
    [
        *["x", "", 0, False, {}, {"head": 1}, [{"idx": 1}], [{"name": "head"}], [1]],
        *[[{"name": "head", "idx": index}] for index in (1.9, 1.0, "1", True, -1, None)],
        *[[{"name": name, "idx": 1}] for name in ("", 1, None, ["head"])],
    ],
)
def test_label_info_of_another_form(label_info: Any) -> None:
    with pytest.raises(InputError, match="expected a list of"):
        class_indices(np.array([0, 1]), label_info, NAMES)
    with pytest.raises(InputError, match="expected a list of"):
        label_meaning("image", np.array([0, 1]), label_info, NAMES, Predictions(Path("none.db")), __file__)


def test_structures_without_a_class() -> None:
    with pytest.raises(InputError, match=r"value 2 \(tumour\); expected head, tail"):
        class_indices(np.array([0, 2]), [{"name": "head", "idx": 1}, {"name": "tumour", "idx": 2}], NAMES)
    with pytest.raises(InputError, match=r"value 4 \(without a name\)"):
        class_indices(np.array([4]), [], NAMES)


def test_two_structures_of_one_value() -> None:
    label_info = [{"name": "head", "idx": 1}, {"name": "tail", "idx": 1}]
    with pytest.raises(InputError, match="expected another idx for each structure"):
        class_indices(np.array([0, 1]), label_info, NAMES)


def test_no_other_format_of_itk_is_read(tmp_path: Path) -> None:
    """ITK would go by content: a MetaImage may name any file of the machine as its data."""
    image = tmp_path / "image.nii.gz"
    write_image(np.zeros((2, 2, 2), np.uint8), image, np.eye(4))
    (tmp_path / "data").write_bytes(bytes(8))
    header = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = data\n"
    for name in ("label.nrrd", "label.mha"):
        (tmp_path / name).write_text(header)
        with pytest.raises(InputError, match=rf"{name}: "):
            read_label(str(tmp_path / name), str(image))
