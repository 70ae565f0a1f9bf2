"""Files with several channels, by the key channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import ReadingOptions, read_grid, read_image, write_image, write_label, write_map
from leaf_seg.runtime.errors import InputError

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(0, 900, (5, 6, 4, 4)).astype(np.int16)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])


def vector(path: Path) -> None:
    """NIfTI's dimension of vectors, the fifth one."""
    image = nib.Nifti1Image(VOXELS[:, :, :, None], AFFINE)
    image.header.set_intent("vector")
    nib.save(image, path)


SAVED: dict[str, Callable[[Path], Any]] = {
    "a.nii.gz": lambda path: nib.save(nib.Nifti1Image(VOXELS, AFFINE), path),
    "b.nii": vector,
    "a.mha": lambda path: write_image(VOXELS, path, AFFINE),
    "a.nrrd": lambda path: write_image(VOXELS, path, AFFINE),
    "a.mgz": lambda path: nib.save(nib.freesurfer.MGHImage(VOXELS, AFFINE), path),
}


@pytest.fixture(params=SAVED)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param
    SAVED[request.param](path)
    return path


@pytest.mark.parametrize("channels", [0, [3], [0, 1, 2], [3, 1, 3]])
def test_the_chosen_channels_are_read(file: Path, channels: Any) -> None:
    image = read_image(file, options=ReadingOptions(channels))
    numbers = [channels] if isinstance(channels, int) else channels
    np.testing.assert_array_equal(image, np.moveaxis(VOXELS, -1, 0)[numbers])
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


def test_none_is_chosen_by_chance(file: Path) -> None:
    with pytest.raises(InputError, match=rf"{file.name}: a volume with 4 channels .* --channels '\[0\]'"):
        read_image(file)
    with pytest.raises(InputError, match=r"channels is \[0, 1, 4\], and the file has 4 of them; expected .* 0 to 3"):
        read_image(file, options=ReadingOptions([0, 1, 4]))


def test_results_have_the_place_of_the_image(file: Path, tmp_path: Path) -> None:
    label = (VOXELS[..., 0] > 400).astype(np.uint8)
    assert read_grid(file).shape == label.shape
    written = [write_label(label, file, tmp_path / "out"), write_map(label, file, tmp_path / "out", "entropy")]
    for path in written:
        result = read_image(path, is_label=True)
        np.testing.assert_array_equal(result[0], label)
        np.testing.assert_allclose(result.affine, AFFINE, atol=1e-5)
    if ".nii" in file.name:
        header: Any = nib.load(written[0]).header
        assert header.get_data_shape() == label.shape
        assert header.get_intent()[0] == "none"


def test_labels_have_all_channels_of_their_file(file: Path) -> None:
    label = read_image(file, is_label=True, options=ReadingOptions([2]))
    np.testing.assert_array_equal(label, np.moveaxis(VOXELS, -1, 0))


def test_memory_is_that_of_the_chosen_channels(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 100, 100))
    header["magic"], header["vox_offset"], header["sform_code"] = b"n+1", 352, 1
    header["srow_x"], header["srow_y"], header["srow_z"] = np.eye(4)[:3]
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4))
    with pytest.raises(
        InputError, match=r"an image of 1000 x 1000 x 100 would take about 2\.4\d GB .* memory_limit_gb"
    ):
        read_image(tmp_path / "a.nii", memory_limit_gb=2, options=ReadingOptions([0, 1, 2]))
    with pytest.raises(InputError, match="80 GB"):
        read_image(tmp_path / "a.nii", is_label=True)


@pytest.mark.parametrize(("channels", "expected"), [([1], [1]), ([2, 1, 0], [2, 1, 0])])
def test_channels_of_a_picture(channels: list[int], expected: list[int], tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", options=ReadingOptions(channels))
    np.testing.assert_array_equal(image, np.moveaxis(colours, -1, 0)[expected])


def test_an_image_of_one_channel_is_as_always(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS[..., 0], AFFINE), tmp_path / "a.nii")
    Image.fromarray(VOXELS[..., 0, 0].astype(np.uint8)).save(tmp_path / "a.png")
    for name in ("a.nii", "a.png"):
        np.testing.assert_array_equal(
            read_image(tmp_path / name, options=ReadingOptions(0)), read_image(tmp_path / name)
        )
        with pytest.raises(InputError, match=rf"{name}: channels is \[0, 1, 2\], and the file has 1 of them"):
            read_image(tmp_path / name, options=ReadingOptions([0, 1, 2]))


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([0, 1], r"channels is \[0, 1\]; expected one or three, .* twice: \[0, 1, 1\]"),
        ([], "expected 1 to 3 whole numbers"),
        ([-1], "expected 1 to 3 whole numbers"),
        ("0", "expected 1 to 3 whole numbers"),
    ],
)
def test_unfit_channels(channels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReadingOptions(channels)
