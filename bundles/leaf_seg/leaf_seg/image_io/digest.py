"""What an image is, by the bytes of its files."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from leaf_seg.image_io.formats import files_of
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import printable

_MOST_KNOWN = 2**16  # files whose digests are kept in memory


def file_digest(path: PathLike) -> str:
    """SHA-256 of all that an image is read from: the content of its file.

    Of a folder, such as a DICOM series, over the digests of its files in the order of their names; of a header with a
    file of voxels beside it, over those of both. A process reads each file once, unless it changes.

    Raises:
        InputError: When it cannot be read.
    """
    source = Path(path)
    try:
        files = sorted(f for f in source.rglob("*") if f.is_file()) if source.is_dir() else files_of(source)
        parts = [_digest(str(file), _state(file)) for file in files]
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); correct its permissions.") from error
    return parts[0] if [*files] == [source] else hashlib.sha256("".join(parts).encode()).hexdigest()


def _state(file: Path) -> tuple[int, ...]:
    """What changes when somebody writes to a file."""
    status = os.stat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=_MOST_KNOWN)
def _digest(file: str, state: tuple[int, ...]) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
