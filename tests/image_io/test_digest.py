from __future__ import annotations

import os
from pathlib import Path

import pytest

from leaf_seg.image_io import digest
from leaf_seg.image_io.digest import file_digest
from leaf_seg.runtime.errors import InputError


def test_a_folder_has_the_digest_of_its_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(b"a")
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "two")
    (tmp_path / "two" / "2.dcm").write_bytes(b"b")
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "two")


def test_voxels_beside_a_header_count(tmp_path: Path) -> None:
    header = "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    digests = set()
    for voxels in (bytes(8), bytes(7) + b"a"):
        (tmp_path / "a.mhd").write_text(header)
        (tmp_path / "a.raw").write_bytes(voxels)
        digests.add(file_digest(tmp_path / "a.mhd"))
    assert len(digests) == 2


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    digest._digest.cache_clear()
    first = [file_digest(file) for _ in range(3)]
    assert digest._digest.cache_info().misses == 1
    status = file.stat()
    file.write_bytes(b"abd")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some programs set it back
    assert file_digest(file) != first[0] == first[2]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(No such file"):
        file_digest(tmp_path / "a.png")
