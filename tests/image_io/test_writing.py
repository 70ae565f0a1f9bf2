"""Files keep values and geometry, and are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io.writing import class_file_names, write_label, write_map, write_probabilities
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing

RNG = np.random.default_rng(0)
OBLIQUE = np.array([[-0.8, 0.1, 0.3, 12.5], [0.1, 0.9, -0.4, -7], [0.05, 0.6, 2.9, 33.25], [0, 0, 0, 1]])


def volume(path: Path, affine: np.ndarray, sform: int = 1, qform: int = 1) -> Path:
    """An int16 volume 5 x 6 x 4 as a scanner writes it: scaled, with units and a display window."""
    image = nib.Nifti1Image(RNG.integers(0, 900, (5, 6, 4)).astype(np.int16), affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 800
    image.header.set_slope_inter(2.0, -1024)
    nib.save(image, path)
    return path


def load_nifti(path: Path | str) -> Any:
    return nib.load(path)


def picture(path: Path, mode: str = "RGB") -> Path:
    """A picture of 7 x 9 pixels."""
    channels = (3,) if mode == "RGB" else ()
    Image.fromarray(RNG.integers(0, 256, (7, 9, *channels)).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("affine", [np.diag([1.0, 1, 1, 1]), np.diag([-0.5, -0.5, 5, 1]), OBLIQUE])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 3), (0, 0)])
def test_label_of_a_volume_has_its_geometry(tmp_path: Path, name: str, affine: np.ndarray, sform: int, qform: int):
    source = volume(tmp_path / name, affine, sform, qform)
    label = RNG.integers(0, 4, (5, 6, 4))

    path = write_label(label, source, tmp_path / "out")

    written, original = load_nifti(path), load_nifti(source)
    assert path == tmp_path / "out" / name
    np.testing.assert_array_equal(np.asarray(written.dataobj), label)
    np.testing.assert_array_equal(written.affine, original.affine)
    for key in ("pixdim", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "qoffset_x", "xyzt_units"):
        np.testing.assert_array_equal(written.header[key], original.header[key], err_msg=key)
    assert written.get_data_dtype() == np.uint8
    assert (written.dataobj.slope, written.dataobj.inter) == (1, 0)
    assert written.header["cal_max"] == 0


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG"])
def test_label_of_a_picture_is_an_index_png(tmp_path: Path, name: str):
    source = picture(tmp_path / name)
    label = RNG.integers(0, 3, (7, 9))

    path = write_label(label, source, tmp_path / "out")

    assert path == tmp_path / "out" / "a.png"
    with Image.open(path) as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), label)


def test_map_of_a_picture_is_16_bit(tmp_path: Path):
    source = picture(tmp_path / "a.png")
    values = RNG.uniform(0, np.log(3), (7, 9))
    path = write_map(values, source, tmp_path / "out", "entropy", maximum=np.log(3))
    with Image.open(path) as written:
        np.testing.assert_allclose(np.asarray(written) / 65535 * np.log(3), values, atol=1e-5)
    assert path.name == "a_entropy.png"


def test_map_of_a_volume_is_float(tmp_path: Path):
    source = volume(tmp_path / "a.nii.gz", OBLIQUE)
    values = RNG.uniform(0, 1, (5, 6, 4)).astype(np.float32)
    path = write_map(values, source, tmp_path / "out", "variance")
    written = load_nifti(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), values)
    assert written.get_data_dtype() == np.float32
    assert path.name == "a_variance.nii.gz"


def test_probabilities_of_a_volume_are_one_4d_file(tmp_path: Path):
    source = volume(tmp_path / "a.nii.gz", OBLIQUE)
    probabilities = RNG.uniform(0, 1, (3, 5, 6, 4)).astype(np.float32)

    (path,) = write_probabilities(probabilities, source, tmp_path / "out", ["background", "x", "y"])

    written = load_nifti(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj)[..., 1], probabilities[1])
    np.testing.assert_array_equal(written.affine, load_nifti(source).affine)
    assert written.header.get_zooms()[:3] == load_nifti(source).header.get_zooms()


def test_probabilities_of_a_picture_are_one_file_for_each_class(tmp_path: Path):
    source = picture(tmp_path / "a.png")
    probabilities = RNG.uniform(0, 1, (2, 7, 9))
    paths = write_probabilities(probabilities, source, tmp_path / "out", ["background", "left/right atrium"])
    assert [path.name for path in paths] == ["a_background.png", "a_left_right_atrium.png"]
    with Image.open(paths[1]) as written:
        np.testing.assert_allclose(np.asarray(written) / 65535, probabilities[1], atol=1e-5)


NAMES = [
    "a b",
    "a/b",
    "A_B",
    "a_b_2",
    "..",
    "../../x",
    "🫀",
    "🫁",
    " ",
    "x" * 300,
    "x" * 301,
    "café",
    "cafe\u0301",
    "left",
]


def test_every_class_has_a_file_of_its_own(tmp_path: Path):
    source = picture(tmp_path / "a.png", mode="L")
    probabilities = np.stack([np.full((7, 9), (i + 1) / 20) for i in range(len(NAMES))])
    paths = write_probabilities(probabilities, source, tmp_path / "out", NAMES)
    assert len({path.name.casefold() for path in paths}) == len(NAMES)
    assert sorted(path.name for path in paths) == sorted(os.listdir(tmp_path / "out"))
    for path, expected in zip(paths, probabilities, strict=True):
        with Image.open(path) as written:
            np.testing.assert_allclose(np.asarray(written) / 65535, expected, atol=1e-5)


def test_names_of_files_say_which_class_it_is():
    assert class_file_names(["background", "left/right atrium", "é"]) == ["background", "left_right_atrium", "é"]
    assert class_file_names(["background", "a b", "a/b", "c"]) == ["background", "a_b_1", "a_b_2", "c"]
    assert class_file_names(["Lung", "lung"]) == ["Lung_0", "lung_1"]
    assert class_file_names(["a", "a_2", "A"]) == ["a_0", "a_2_1", "A_2_2"]
    assert class_file_names(["..", "🫀"]) == ["class_0", "class_1"]
    assert all(len(name.encode()) <= 200 for name in class_file_names(["🫀x" * 200, "界" * 200]))


def test_array_in_another_grid_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="does not belong"):
        write_label(np.zeros((9, 7)), picture(tmp_path / "a.png"), tmp_path / "out")
    with pytest.raises(ValueError, match="does not belong"):
        write_label(np.zeros((6, 5, 4)), volume(tmp_path / "a.nii", OBLIQUE), tmp_path / "out")
    with pytest.raises(ValueError, match="8 bits"):
        write_label(np.full((7, 9), 256), tmp_path / "a.png", tmp_path / "out")
    with pytest.raises(ValueError, match="2 probability maps but 3"):
        write_probabilities(np.zeros((2, 7, 9)), tmp_path / "a.png", tmp_path / "out", ["background", "x", "y"])


def test_source_is_never_overwritten(tmp_path: Path):
    source = picture(tmp_path / "a.png")
    before = source.read_bytes()
    with pytest.raises(InputError, match="is the input image itself"):
        write_label(np.zeros((7, 9)), source, tmp_path)
    assert source.read_bytes() == before


def test_output_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output_dir"):
        write_label(np.zeros((7, 9)), picture(tmp_path / "a.png"), tmp_path / "file" / "out")


def test_failed_write_leaves_the_former_file_alone(tmp_path: Path):
    path = tmp_path / "report.txt"
    path.write_text("former")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        fail()
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["report.txt"]
