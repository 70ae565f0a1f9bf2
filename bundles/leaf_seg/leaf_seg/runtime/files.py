"""Folders that can be written to, and files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leaf_seg.runtime.errors import InputError

PathLike = str | os.PathLike[str]


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place once the block has ended well.

    So a reader never sees half a file, and a run that breaks off leaves the former file.

    Raises:
        InputError: When the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, by which libraries choose a format
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"Cannot write {path} ({error.strerror or error}); expected a folder that can be written to, with space "
            "left: choose another with --output_dir, or free space or correct its permissions."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def ensure_writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Create the folder where needed and prove that files can be written there.

    Raises:
        InputError: When it cannot be made or written to.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder {path} ({error.strerror}); expected a folder that can be created and "
            "written to: choose another with --output_dir, or correct its permissions."
        ) from error
    return path
