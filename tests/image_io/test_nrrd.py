"""NRRD is read by its own reader alone, from one sound file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaf_seg.image_io.nrrd import is_nrrd, read_nrrd, read_nrrd_shape
from leaf_seg.runtime.errors import InputError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
FIELDS = {
    "type": "uint8",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,2)",
    "space origin": "(5,6,7)",
    "encoding": "gzip",
}
DATA = VALUES.tobytes(order="F")


def nrrd(path: Path, data: bytes, **fields: Any) -> Path:
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in (FIELDS | fields).items()]
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + data)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("name", ["a.nrrd", "a.png"])
def test_values_and_place(tmp_path: Path, encoding: str, name: str) -> None:
    path = nrrd(tmp_path / name, DATA if encoding == "raw" else gzip.compress(DATA, mtime=0), encoding=encoding)
    assert is_nrrd(path)
    values, affine = read_nrrd(path)
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_allclose(affine, [[-1, 0, 0, -5], [0, -1, 0, -6], [0, 0, 2, 7], [0, 0, 0, 1]])


PACKED = gzip.compress(DATA, mtime=0)


@pytest.mark.parametrize(
    ("fields", "data", "words"),
    [
        ({}, PACKED[:-8] + b"\0" + PACKED[-7:], "CRC check failed"),
        ({}, PACKED[:-8], "cannot be read"),
        ({}, PACKED[:20], "cannot be read"),
        ({}, gzip.compress(bytes(50_000_000), mtime=0), "more data follow"),
        ({"encoding": "raw"}, DATA[:-1], "cannot be read"),
        ({"sizes": "2000 3000 4000"}, PACKED, "a label of this size would take about .* memory_limit_gb is 8"),
        ({"sizes": "2 3 0"}, PACKED, "expected a volume of three dimensions"),
        ({"sizes": "24", "dimension": 1}, PACKED, "expected a volume of three dimensions"),
        ({"sizes": "two"}, PACKED, "cannot be read"),
        ({"data_file": "/etc/hostname"}, b"", "its data are in another file"),
        ({"datafile": "LIST"}, b"", "its data are in another file"),
        ({"encoding": "hex"}, DATA.hex().encode(), "its encoding is 'hex'"),
    ],
)
def test_damage(tmp_path: Path, fields: dict[str, Any], data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=rf"^[^\n]*a\.nrrd: [^\n]*{words}[^\n]*$"):
        read_nrrd(nrrd(tmp_path / "a.nrrd", data, **fields))


def test_a_header_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"#" * 3_000_000)
    with pytest.raises(InputError, match="its header does not end"):
        read_nrrd(tmp_path / "a.nrrd")


def test_other_formats_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"ObjectType = Image\nElementDataFile = /etc/hostname\n")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert not is_nrrd(tmp_path / "a.nrrd")
    assert not is_nrrd(tmp_path / "circle")
    assert not is_nrrd(tmp_path)


@pytest.mark.parametrize(
    "hidden", ["# x\rdata file: other", "content: x\rdata file: other", "x:=y\rdatafile: other", "\0\rdata file: other"]
)
def test_a_field_that_only_itk_would_see(tmp_path: Path, hidden: str) -> None:
    """Its lines end at a carriage return, too; the data would be those of any file of the machine."""
    (tmp_path / "other").write_bytes(DATA)
    path = nrrd(tmp_path / "a.nrrd", DATA, encoding="raw")
    path.write_bytes(path.read_bytes().replace(b"\n\n", f"\n{hidden}\n\n".encode(), 1))
    for read in (read_nrrd, read_nrrd_shape):
        with pytest.raises(InputError, match="blank lines or control characters"):
            read(path)


def test_a_header_that_seems_to_end(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", DATA, encoding="raw")
    path.write_bytes(path.read_bytes().replace(b"\n\n", b"\n  \ndata file: other\n\n", 1))
    with pytest.raises(InputError, match="blank lines or control characters"):
        read_nrrd(path)


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", b"", encoding="raw")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + DATA)
    assert read_nrrd_shape(path) == VALUES.shape
    np.testing.assert_array_equal(read_nrrd(path)[0], VALUES)
