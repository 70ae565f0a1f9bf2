from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from leaf_seg.image_io.lossy import lossy_coding
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.load_case import LoadCase

pytestmark = pytest.mark.odd_input

MASK = np.zeros((32, 32), np.uint8)
MASK[9:20, 7:21] = 1

FILES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("a.jpg", "JPEG", {}),
    ("a.jpg", "JPEG", {"quality": 100}),
    ("a.webp", "lossy WebP", {}),
    ("a.webp", "lossy WebP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),  # with chunks before the picture's
    ("a.webp", None, {"lossless": True}),
    ("a.tif", "JPEG in a TIFF file", {"compression": "jpeg"}),
    ("a.tif", None, {"compression": "tiff_lzw"}),
    ("a.tif", None, {}),
    ("a.jp2", "lossy JPEG 2000", {"irreversible": True}),
    ("a.j2k", "lossy JPEG 2000", {"irreversible": True}),
    ("a.jp2", None, {}),
    ("a.png", None, {}),
    ("a.bmp", None, {}),
]


@pytest.mark.parametrize(("name", "coding", "options"), FILES)
def test_files_say_whether_they_keep_values(
    tmp_path: Path, name: str, coding: str | None, options: dict[str, Any]
) -> None:
    if name.endswith("webp") and not features.check("webp"):
        pytest.skip("Pillow without WebP")
    Image.fromarray(MASK).save(tmp_path / name, **options)
    assert lossy_coding(tmp_path / name) == coding


def test_jpeg_that_is_called_png(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "a.png", "JPEG")
    assert not np.array_equal(np.array(Image.open(tmp_path / "a.png")), MASK)
    with pytest.raises(InputError, match=r"a\.png: the label is saved as JPEG, which changes values.*threshold"):
        LoadCase("label")({"label": str(tmp_path / "a.png")})
    LoadCase("image")({"image": str(tmp_path / "a.png")})


@pytest.mark.parametrize(
    ("syntax", "coding"),
    [
        (b"1.2.840.10008.1.2.4.50", "JPEG in a DICOM file"),
        (b"1.2.840.10008.1.2.4.91", "JPEG 2000 in a DICOM file"),
        (b"1.2.840.10008.1.2.4.90", None),
        (b"1.2.840.10008.1.2.1", None),
    ],
)
def test_transfer_syntaxes_of_dicom(tmp_path: Path, syntax: bytes, coding: str | None) -> None:
    head = bytes(128) + b"DICM" + b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax
    (tmp_path / "a.dcm").write_bytes(head + bytes(100))
    assert lossy_coding(tmp_path / "a.dcm") == coding


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff"])
def test_damaged_files_are_left_to_who_reads_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert lossy_coding(tmp_path / "a") is None
    assert lossy_coding(tmp_path / "none") is None
