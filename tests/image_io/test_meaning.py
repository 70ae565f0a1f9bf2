"""What a file says of itself is honoured, or named in one line of the log."""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import read_grid, read_image, write_label
from leaf_seg.image_io.remarks import forget_remarks
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.scale_image import ScaleImage
from tests.faults.damage import chunk

pytestmark = pytest.mark.odd_input

RAMP = np.arange(12).reshape(3, 4)
AFFINE = np.diag([-0.8, 1.2, 2.5, 1.0])
SIGNED, MIN_IS_WHITE = {339: 2}, {262: 0}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    forget_remarks()
    yield
    forget_remarks()


def tiff(path: Path, values: np.ndarray, tags: dict[int, Any] | None = None, bits: int = 0) -> Path:
    """A little-endian TIFF of one strip; ``values`` are packed to ``bits`` bits."""
    bits = bits or 8 * values.itemsize
    if bits < 8 * values.itemsize:
        rows = [[format(value, f"0{bits}b") for value in row] for row in values.tolist()]
        lines = ["".join(row) for row in rows]
        data = b"".join(int(line.ljust(-(-len(line) // 8) * 8, "0"), 2).to_bytes(-(-len(line) // 8)) for line in lines)
    else:
        data = values.tobytes()
    entries = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: 1, 273: 8, 278: values.shape[0]}
    entries |= {279: len(data)} | (tags or {})
    texts, directory = b"", b""
    after = 8 + len(data) + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        if isinstance(value, str):
            text = value.encode() + b"\0"
            directory += struct.pack("<HHII", tag, 2, len(text), after + len(texts))
            texts += text
        else:
            directory += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + directory + bytes(4) + texts)
    return path


def png(path: Path, values: np.ndarray, bits: int, *parts: bytes) -> Path:
    """A grey PNG; ``values`` are packed to ``bits`` bits."""
    rows = b""
    for row in values.tolist():
        line = "".join(format(value, f"0{bits}b") for value in row)
        rows += b"\0" + int(line.ljust(-(-len(line) // 8) * 8, "0"), 2).to_bytes(-(-len(line) // 8))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def scaled(path: Path, window: tuple[float, float] | None = None) -> np.ndarray:
    return np.asarray(ScaleImage(window=window)({"image": read_image(path)})["image"][0])


def label(path: Path) -> np.ndarray:
    return np.asarray(read_image(path, is_label=True)[0])


U16 = (RAMP * 300).astype(np.uint16)  # up to 3300
NEAREST = np.rint(RAMP * 300 * 65535 / 4095).astype(int)
OME = '<OME><Image><Pixels ID="P" SizeX="4" SignificantBits="12" Type="uint16"/></Image></OME>'
SBIT_12 = chunk(b"sBIT", b"\x0c")

# What is written, and the value that becomes 1.
DEPTHS: dict[str, tuple[Callable[[Path], Path], float]] = {
    "png, 16 bits": (lambda path: png(path, U16, 16), 65535),
    "png, sBIT, stored as 0 to 4095": (lambda path: png(path, U16, 16, SBIT_12), 4095),
    "png, sBIT, spread by zeros": (lambda path: png(path, U16 << 4, 16, SBIT_12), 65535 / 16),
    "png, sBIT, spread and filled": (lambda path: png(path, (U16 << 4) | (U16 >> 8), 16, SBIT_12), 4095),
    "png, sBIT, spread to the nearest": (lambda path: png(path, NEAREST, 16, SBIT_12), 4095),
    "png, 4 bits": (lambda path: png(path, RAMP, 4), 15 * 300),
    "tiff, 16 bits": (lambda path: tiff(path, U16), 65535),
    "tiff, 12 bits": (lambda path: tiff(path, U16, bits=12), 4095),
    "tiff, SMaxSampleValue": (lambda path: tiff(path, U16, {341: 4095}), 4095),
    "tiff, MaxSampleValue": (lambda path: tiff(path, U16, {281: 4095}), 4095),
    "tiff, MaxSampleValue of this picture": (lambda path: tiff(path, U16, {281: 3300}), 65535),
    "tiff, SMaxSampleValue that is exceeded": (lambda path: tiff(path, U16, {341: 1023}), 65535),
    "tiff, OME's SignificantBits": (lambda path: tiff(path, U16, {270: OME}), 4095),
    "tiff, signed 16 bits": (lambda path: tiff(path, U16.astype(np.int16), SIGNED), 32767),
    "tiff, signed 8 bits": (lambda path: tiff(path, RAMP.astype(np.int8), SIGNED), 127 * 300),
    "tiff, 4 bits": (lambda path: tiff(path, RAMP.astype(np.uint8), bits=4), 15 * 300),
}


@pytest.mark.parametrize("kind", DEPTHS)
def test_pictures_are_scaled_by_what_their_file_says_it_can_hold(kind: str, tmp_path: Path) -> None:
    save, maximum = DEPTHS[kind]
    np.testing.assert_allclose(scaled(save(tmp_path / "a")), RAMP * 300 / maximum, atol=2e-5)


def test_few_bits_without_a_word_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scaled(png(tmp_path / "declared.png", U16, 16, SBIT_12))
    scaled(png(tmp_path / "full.png", U16 * 19, 16))
    scaled(png(tmp_path / "a.png", U16, 16), window=(0, 4095))
    assert not caplog.messages
    for name in ("a.png", "b.png"):
        scaled(png(tmp_path / name, U16, 16))
    (message,) = caplog.messages
    assert "a.png: its values end at 3300 of the 65535" in message
    assert "If all pictures have 12 bits, train with --window '[0,4095]'" in message


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_bright_where_white_is_and_labels_keep_their_indices(tmp_path: Path, dtype: type) -> None:
    path = tiff(tmp_path / "a.tif", RAMP.astype(dtype), MIN_IS_WHITE)
    most = np.iinfo(dtype).max
    np.testing.assert_allclose(scaled(path), (most - RAMP) / most, atol=1e-6)
    np.testing.assert_array_equal(label(path), RAMP)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("tags", [{}, MIN_IS_WHITE])
def test_labels_of_few_bits_are_the_numbers_that_are_stored(tmp_path: Path, bits: int, tags: dict[int, int]) -> None:
    values = (RAMP % 2**bits).astype(np.uint8)
    np.testing.assert_array_equal(label(tiff(tmp_path / "a.tif", values, tags, bits)), values)
    if not tags:
        np.testing.assert_array_equal(label(png(tmp_path / "a.png", values, bits)), values)


def test_negative_values_need_a_window(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", (RAMP - 5).astype(np.int16), SIGNED)
    np.testing.assert_array_equal(read_image(path)[0], RAMP - 5)
    np.testing.assert_allclose(scaled(path, (-5, 6)), RAMP / 11, atol=1e-6)
    with pytest.raises(InputError, match=r"a\.tif\) has values from -5 to 6, some of them negative, .* --window"):
        scaled(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_an_orientation_is_named(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture, path = Image.fromarray(RAMP.astype(np.uint8)), tmp_path / f"a{suffix}"
    if suffix == ".tif":
        picture.save(path, tiffinfo={274: 3})
    else:
        exif = Image.Exif()
        exif[274] = 3
        picture.save(path, exif=exif)
    for _ in range(2):
        read_image(path)
    (message,) = caplog.messages
    assert f"a{suffix}: viewers turn it by its orientation tag (3); pixels are taken as they are stored" in message


def test_transparency_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    colours = np.full((3, 4, 4), 255, np.uint8)
    Image.fromarray(colours).save(tmp_path / "opaque.png")
    read_image(tmp_path / "opaque.png")
    assert not caplog.messages
    colours[0, 0, 3] = 0
    Image.fromarray(colours).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    assert "a.png: has transparent pixels" in caplog.messages[0]


@pytest.mark.parametrize("options", [{}, {"irreversible": True}])
def test_jpeg_2000(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    Image.fromarray(U16).save(path, **options)
    if options:
        np.testing.assert_allclose(scaled(path), U16 / 65535, atol=1e-3)
        with pytest.raises(InputError, match=r"a\.jp2: the label is a JPEG 2000 with loss"):
            label(path)
    else:
        np.testing.assert_array_equal(label(path), U16)


def test_a_label_in_webp_with_loss(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.webp", quality=20)
    with pytest.raises(InputError, match=r"a\.webp: the label is a WebP with loss"):
        label(tmp_path / "a.webp")


def test_a_picture_beyond_pillows_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for suffix in (".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2"):
        Image.new("L", (20, 20), 7).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}").shape[1:] == (20, 20)
    assert Image.MAX_IMAGE_PIXELS == 50


VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def nifti(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, **header: Any) -> Path:
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, header.pop("sform", 1))
    image.set_qform(header.pop("qform_affine", affine), header.pop("qform", 1))
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 4, 1), (2, 3, 4, 1, 1)])
def test_niftis_of_other_dimensions_that_are_volumes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    path = nifti(tmp_path / "a.nii", voxels)
    expected = voxels.reshape((*shape, 1)[:3])
    np.testing.assert_array_equal(read_image(path)[0], expected)
    assert read_grid(path).shape == expected.shape
    written: Any = nib.load(write_label(expected % 3, path, tmp_path / "out"))
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected % 3)
    np.testing.assert_allclose(written.affine, nib.nifti1.load(path).affine)


def test_a_slice_without_thickness(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.zeros((2, 3), np.int16))
    content = bytearray(path.read_bytes())
    struct.pack_into("<12f", content, 280, *(0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0))
    path.write_bytes(content)
    affine = read_grid(path).affine
    assert affine is not None
    np.testing.assert_allclose(affine[:3, :3], [[0, 2, 0], [3, 0, 0], [0, 0, -1]])


@pytest.mark.parametrize(("code", "scale"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_are_millimetres(tmp_path: Path, code: int, scale: float, caplog: pytest.LogCaptureFixture) -> None:
    path = nifti(tmp_path / "a.nii", affine=np.diag([*(np.diag(AFFINE)[:3] / scale), 1]), xyzt_units=code)
    np.testing.assert_allclose(read_image(path).affine, AFFINE, rtol=1e-6)
    np.testing.assert_allclose(read_grid(path).spacing, (0.8, 1.2, 2.5), rtol=1e-6)
    assert bool(caplog.messages) == (scale != 1)
    written: Any = nib.load(write_label(np.zeros(VOXELS.shape), path, tmp_path / "out"))
    assert written.header["xyzt_units"] == code
    label_in_mm = read_image(nifti(tmp_path / "label.nii", VOXELS % 2), is_label=True)
    CheckPair(num_classes=2)({"image": read_image(path), "label": label_in_mm})


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"sform": 0, "qform": 0}, "neither sform nor qform"),
        ({"qform_affine": np.diag([0.8, 1.2, 2.5, 1])}, "its sform (code 1) and its qform (code 1) place it 1.6 mm"),
    ],
)
def test_an_open_place_is_named(
    tmp_path: Path, header: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    read_image(nifti(tmp_path / "sound.nii"))
    assert not caplog.messages
    read_image(nifti(tmp_path / "a.nii", **header))
    assert len(caplog.messages) == 1
    assert caplog.text.count("\n") == 1
    assert words in caplog.text


def test_members_of_gzip(tmp_path: Path) -> None:
    """As of bgzip, which packs in blocks."""
    content = nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii").write_bytes(gzip.compress(content[:360]) + gzip.compress(content[360:]))
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii")[0], VOXELS)


FAR = AFFINE + np.array([[0, 0, 0, 12345.678], [0, 0, 0, -4321.987], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("image", "other", "fits"),
    [
        (AFFINE, AFFINE + 1e-4, True),
        (FAR, np.round(FAR, 1), True),
        (AFFINE, AFFINE @ np.diag([1, 1, 1.001, 1]), True),
        (AFFINE, AFFINE @ np.diag([1, 1, 1.1, 1]), False),
        (np.diag([1e-3, 1e-3, 1e-3, 1]), np.diag([2e-3, 1e-3, 1e-3, 1]), False),
        (AFFINE, AFFINE + np.array([[0, 0, 0, 0.4], [0] * 4, [0] * 4, [0] * 4]), False),
    ],
)
def test_affines_may_differ_by_rounding(tmp_path: Path, image: np.ndarray, other: np.ndarray, fits: bool) -> None:
    pair = {
        "image": read_image(nifti(tmp_path / "image.nii", affine=image)),
        "label": read_image(nifti(tmp_path / "label.nii", VOXELS % 2, other), is_label=True),
    }
    if fits:
        assert CheckPair(num_classes=2)(pair)["label"] is pair["label"]
    else:
        with pytest.raises(InputError, match="affine matrices that place their corners"):
            CheckPair(num_classes=2)(pair)
