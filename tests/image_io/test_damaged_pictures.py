"""Damage that libraries do not see, or of which they say much."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import read_image, write_image
from leaf_seg.runtime.errors import InputError
from tests.faults.damage import chunk, png_header
from tests.image_io.dicom_files import write_slice

pytestmark = pytest.mark.odd_input

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)


def png(path: Path, rows: int, data: bytes, *more: bytes) -> Path:
    """A PNG 48 pixels wide, with right checksums of its parts."""
    path.write_bytes(png_header(48, rows) + chunk(b"IDAT", data) + b"".join(more))
    return path


@pytest.mark.parametrize("is_label", [False, True])
def test_png_with_one_flipped_bit(tmp_path: Path, is_label: bool) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    whole = path.read_bytes()
    read_image(path, is_label)
    start = whole.index(b"IDAT") + 4
    for position in (start + 20, len(whole) // 2, len(whole) - 17, len(whole) - 2):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.png: cannot be read"):
            read_image(path, is_label)


def test_png_with_right_checksums_and_wrong_pixels(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    packed, end = zlib.compress(rows), chunk(b"IEND", b"")
    assert (read_image(png(tmp_path / "whole.png", 64, packed, end)).numpy()[0] == PIXELS).all()
    for name, height, data, rest in (
        ("rows_missing", 80, packed, end),
        ("rows_too_many", 32, packed, end),
        ("checksum_missing", 64, packed[:-4], end),
        ("end_missing", 64, packed, b""),
    ):
        with pytest.raises(InputError, match=f"{name}.png: cannot be read"):
            read_image(png(tmp_path / f"{name}.png", height, data, rest))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (48, 64), (5, 3)])
def test_png_of_every_mode_is_read(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    Image.new(mode, size).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape[1:] == size[::-1]


def test_interlaced_png_is_read(tmp_path: Path) -> None:
    """The seven passes of a picture of 5 x 3: 1, 1, 2 and so on pixels, of which one pass has none."""
    passes = [(1, 1), (1, 1), (0, 2), (1, 1), (1, 3), (2, 2), (1, 5)]  # rows, columns
    packed = zlib.compress(b"".join((b"\0" + bytes([7]) * columns) * rows for rows, columns in passes))
    header = struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert (read_image(tmp_path / "a.png") == 7).all()


def with_tags(data: bytes, tags: dict[int, int]) -> bytes:
    """The little-endian TIFF with other values of these tags."""
    changed = bytearray(data)
    (start,) = struct.unpack("<I", data[4:8])
    (number,) = struct.unpack("<H", data[start : start + 2])
    for entry in range(start + 2, start + 2 + 12 * number, 12):
        (tag,) = struct.unpack("<H", data[entry : entry + 2])
        if tag in tags:
            changed[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, tags[tag])
    return bytes(changed)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("tags", [{257: 100}, {257: 100, 278: 100}, {273: 10**6}, {278: 0}])
def test_tiff_whose_strips_are_not_the_picture(tmp_path: Path, compression: str, tags: dict[int, int]) -> None:
    """Rows missing, one strip that is too short, a strip beyond the file's end, and strips without rows."""
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, compression=compression)
    assert (read_image(path).numpy()[0] == PIXELS).all()
    path.write_bytes(with_tags(path.read_bytes(), tags))
    with pytest.raises(InputError, match=r"a\.tif: cannot be read"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16", "P", "CMYK"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_of_every_mode_and_of_several_strips_is_read(tmp_path: Path, mode: str, compression: str) -> None:
    Image.new(mode, (45, 31)).save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 7})
    assert read_image(tmp_path / "a.tif").shape[1:] == (31, 45)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".jp2", ".mha", ".nrrd", ".mgz", ".mgh", ".dcm"])
def test_other_formats_are_whole_or_refused(tmp_path: Path, suffix: str) -> None:
    """Cut short, nothing is read; of those with checksums no flipped bit passes as another image."""
    path = tmp_path / f"whole{suffix}"
    if suffix in (".mha", ".nrrd", ".mgz", ".mgh"):
        write_image(np.arange(210, dtype=np.int16).reshape(7, 5, 6), path, np.diag([1.0, 1, 2, 1]))
    elif suffix == ".dcm":
        write_slice(path, PIXELS.astype(np.uint16), (0, 0, 0))
    else:
        Image.fromarray(PIXELS).save(path, lossless=True)  # which only WebP looks at
    whole, content = read_image(path), path.read_bytes()
    changed = tmp_path / f"changed{suffix}"
    for length in range(0, len(content) - 40, max(1, len(content) // 30)):
        changed.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"^[^\n]*changed{suffix}: [^\n]*$"):
            read_image(changed)
    for position in range(len(content) // 2, len(content), max(1, len(content) // 40)):
        flipped = bytearray(content)
        flipped[position] ^= 4
        changed.write_bytes(flipped)
        outcome = None
        with suppress(InputError):
            outcome = read_image(changed)
        assert outcome is None or suffix not in (".mha", ".nrrd", ".mgz") or bool((outcome == whole).all())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ElementDataFile = ../other", r"its ElementDataFile is '\.\./other'; expected LOCAL"),
        ("ElementDataFile = LIST", "its ElementDataFile is 'LIST'"),
        ("ElementDataFile = a%03d.raw 1 3 1", "its ElementDataFile is"),
        ("ElementDataFile : other\nElementDataFile = LOCAL", "its header has lines that are not NAME = VALUE"),
        ("ElementDataFile = gone.raw", r"the file of its voxels, gone\.raw, is missing"),
    ],
)
def test_a_metaimage_refers_to_nothing_elsewhere(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "other").write_bytes(bytes(8))
    header = f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n{line}\n"
    (tmp_path / "a.mhd").write_bytes(header.encode() + bytes(8))
    with pytest.raises(InputError, match=rf"a\.mhd: {words}"):
        read_image(tmp_path / "a.mhd")
