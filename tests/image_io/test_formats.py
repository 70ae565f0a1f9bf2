"""A file's format is found by its content."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import read_grid, read_image, write_label
from leaf_seg.image_io.formats import FORMATS, format_of, format_to_create, image_suffix, suffixes
from leaf_seg.image_io.writing import write_image
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder
from tests.image_io.dicom_files import write_slice

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)
VOXELS = RNG.integers(0, 900, (5, 6, 4)).astype(np.int16)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0.3, -20], [0, -0.2, 2.5, 5], [0, 0, 0, 1]])

SQUARE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])


def big_endian_tiff(path: Path) -> None:
    """By hand, since Pillow writes the byte order of the machine."""
    tags = {256: (3, 9), 257: (3, 7), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 278: (3, 7), 279: (4, 63)}
    entries = b"".join(
        tag.to_bytes(2) + kind.to_bytes(2) + (1).to_bytes(4) + value.to_bytes(2 if kind == 3 else 4).ljust(4, b"\0")
        for tag, (kind, value) in tags.items()
    )
    directory = len(tags).to_bytes(2) + entries + bytes(4)
    path.write_bytes(b"MM\0*" + (8 + GREY.size).to_bytes(4) + GREY.tobytes() + directory)


def save_nifti(path: Path, kind: type[nib.Nifti1Image] = nib.Nifti1Image) -> None:
    nib.save(kind(VOXELS, AFFINE), path)


def dicom(path: Path) -> None:
    write_slice(path, GREY.astype(np.uint16), (0, 0, 0))


# Content by a name that fits it: what is written, and the format's name.
CONTENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a.png": (lambda path: Image.fromarray(GREY).save(path), "PNG"),
    "a.jpg": (lambda path: Image.fromarray(GREY).save(path), "JPEG"),
    "a.tif": (lambda path: Image.fromarray(GREY).save(path), "TIFF"),
    "a_big_endian.tif": (big_endian_tiff, "TIFF"),
    "a_big.tif": (lambda path: Image.fromarray(GREY).save(path, big_tiff=True), "TIFF"),
    "a.nii": (save_nifti, "NIfTI"),
    "a.nii.gz": (save_nifti, "NIfTI"),
    "a_2.nii": (lambda path: save_nifti(path, nib.Nifti2Image), "NIfTI"),
    "a_2.nii.gz": (lambda path: save_nifti(path, nib.Nifti2Image), "NIfTI"),
    "a.bmp": (lambda path: Image.fromarray(GREY).save(path), "BMP"),
    "a.webp": (lambda path: Image.fromarray(GREY).save(path, lossless=True), "WebP"),
    "a.jp2": (lambda path: Image.fromarray(GREY).save(path), "JPEG 2000"),
    "a.j2k": (lambda path: Image.fromarray(GREY).save(path), "JPEG 2000"),
    "a.mgz": (lambda path: nib.save(nib.freesurfer.MGHImage(VOXELS, SQUARE), path), "MGH"),
    "a.mgh": (lambda path: nib.save(nib.freesurfer.MGHImage(VOXELS, SQUARE), path), "MGH"),
    "a.nrrd": (lambda path: write_image(VOXELS, path, SQUARE), "NRRD"),
    "a.mha": (lambda path: write_image(VOXELS, path, SQUARE), "MetaImage"),
    "a.dcm": (lambda path: dicom(path), "DICOM"),
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_pixels_are_as_stored_whatever_the_orientation_is(suffix: str, orientation: int, tmp_path: Path) -> None:
    turned, plain = tmp_path / f"turned{suffix}", tmp_path / f"plain{suffix}"
    if suffix == ".tif":
        Image.fromarray(GREY).save(turned, tiffinfo={274: orientation})
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(GREY).save(turned, exif=exif)
    Image.fromarray(GREY).save(plain)
    np.testing.assert_array_equal(read_image(turned), read_image(plain))
    assert read_grid(turned).shape == read_grid(plain).shape == GREY.shape


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}])
def test_a_tiff_with_many_rows_that_lies_on_its_side(options: dict[str, str], tmp_path: Path) -> None:
    """Its strips are those of the pixels as they are stored."""
    picture = RNG.integers(0, 256, (3000, 50)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.tif", tiffinfo={274: 6}, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], picture)


def test_every_format_is_tested() -> None:
    pair = "NIfTI or Analyze pair"  # whose files go by their names: test_pairs.py
    assert {name for _, name in CONTENTS.values()} | {pair} == {form.name for form in FORMATS}


@pytest.mark.parametrize("called", ["b.png", "b.JPEG", "b.tiff", "b.nii", "b.nii.gz", "b.dat", "b"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_is_what_it_holds_whatever_it_is_called(tmp_path: Path, content: str, called: str) -> None:
    save, name = CONTENTS[content]
    save(tmp_path / content)
    path = (tmp_path / content).rename(tmp_path / called)
    assert format_of(path).name == name
    image, grid = read_image(path), read_grid(path)
    assert image.meta["filename_or_obj"] == str(path)
    channels = 3 if name == "WebP" else 1
    assert tuple(image.shape) == (channels, *grid.shape)
    if name == "DICOM":
        np.testing.assert_array_equal(image[0, ..., 0].T, GREY)
        assert grid.spacing == pytest.approx((0.8, 1.2, 2.5))
    elif name in ("MGH", "NRRD", "MetaImage"):
        np.testing.assert_array_equal(image[0], VOXELS)
        np.testing.assert_allclose(image.affine, SQUARE, atol=1e-5)
    elif name == "NIfTI":
        np.testing.assert_array_equal(image[0], VOXELS)
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
        assert grid.affine is not None
        np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-5)
        assert grid.spacing == pytest.approx((0.8, np.hypot(1.2, 0.2), np.hypot(0.3, 2.5)))
    else:
        np.testing.assert_allclose(image[0], GREY, atol=64 if name == "JPEG" else 0)
        assert grid.affine is None
        assert grid.spacing == (1, 1)


@pytest.mark.parametrize(("called", "result"), [("b.png", "b.nii.gz"), ("b.nii", "b.nii"), ("b", "b.nii.gz")])
def test_results_are_of_the_kind_that_the_image_is(tmp_path: Path, called: str, result: str) -> None:
    save_nifti(tmp_path / "a.nii.gz")
    source = (tmp_path / "a.nii.gz").rename(tmp_path / called)
    path = write_label(VOXELS % 3, source, tmp_path / "out")
    assert path.name == result
    written = nib.nifti1.load(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), VOXELS % 3)
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)


def test_a_volume_that_was_unpacked_on_its_way_keeps_its_name(tmp_path: Path) -> None:
    """Browsers unpack a .nii.gz and save it as .nii.gz."""
    save_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz")[0], VOXELS)


@pytest.mark.parametrize("read", [format_of, read_image, read_grid])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.png",
            b"GIF89a",
            r"its content is none of PNG, JPEG, TIFF, .*, NIfTI, .*DICOM\); expected a complete PNG file",
        ),
        ("a.nii.gz", b"", "expected a complete NIfTI file"),
        ("a.nii.gz", gzip.compress(b"no image", mtime=0), "expected a complete NIfTI file"),
        ("a.nii", b"\x1f\x8bno gzip", "expected a complete NIfTI file"),
        ("a.gif", b"GIF89a", r"the file type '\.gif' is not supported; expected one of \.png, .*\.nii, .*\. Convert"),
        ("a", b"GIF89a", r"the file type '\(no suffix\)' is not supported"),
    ],
)
def test_content_that_is_no_image(
    tmp_path: Path, read: Callable[[Path], object], name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: .*{words}"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [format_of, read_image, read_grid])
def test_no_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"a\.png: does not exist; expected a file"):
        read(tmp_path / "a.png")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        read(tmp_path)


def test_volumes_of_other_dimension_have_no_grid(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 5, 6), np.float32), AFFINE), tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: a 5D NIfTI of shape \(2, 3, 4, 5, 6\); expected a 3D volume"):
        read_grid(tmp_path / "a.nii")


def test_the_longest_suffix_counts() -> None:
    assert image_suffix("b/a.nii.GZ") == ".nii.GZ"
    assert image_suffix("a.b.nii") == ".nii"
    assert image_suffix("a.gz") == ""
    assert image_suffix("png") == ""


def test_new_files_go_by_their_suffix() -> None:
    for form in FORMATS:
        for suffix in form.suffixes:
            assert format_to_create(f"a{suffix.upper()}") is form
    with pytest.raises(ValueError, match=r"a\.gif is not called as an image"):
        format_to_create("a.gif")
    assert len(set(suffixes())) == len(suffixes())


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Tables and logs could not hold it."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.png"))
    Image.new("L", (4, 4)).save(path)
    for read in (read_image, read_grid):
        with pytest.raises(InputError, match="its name is not UTF-8") as raised:
            read(path)
        str(raised.value).encode()
    with pytest.raises(InputError, match="is not UTF-8"):
        ensure_writable_folder(path.with_suffix(""))


def test_file_whose_name_is_too_long_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot write"):
        write_image(np.zeros((4, 4), np.uint8), tmp_path / f"{'a' * 255}.png")
