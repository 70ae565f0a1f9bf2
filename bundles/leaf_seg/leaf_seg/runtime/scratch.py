"""Temporary folders that the next process removes where the process that made one was killed."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

_LOCK_NAME = ".lock"  # held while the process that made the folder lives


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder ``<prefix><random letters>`` that is removed at the end of the block.

    Args:
        parent: folder to make it in.
        prefix: beginning of its name.

    Raises:
        OSError: When it cannot be made.
    """
    folder, lock = _locked_folder(parent, prefix)
    try:
        yield folder
    finally:
        try:
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:  # an interruption in the midst of that
            shutil.rmtree(folder, ignore_errors=True)
            raise


def remove_abandoned(parent: Path, prefix: str) -> int:
    """Remove scratch folders whose process is gone, and say so.

    Args:
        parent: folder that they are in; need not exist.
        prefix: beginning of their names.

    Returns:
        Number of folders removed.
    """
    removed = 0
    for folder in sorted(parent.glob(f"{prefix}*")):
        if folder.is_dir() and not folder.is_symlink():
            removed += _remove_if_abandoned(folder)
    if removed:
        logger.warning("Removed what a process that was killed had left in %s (%d %s*).", parent, removed, prefix)
    return removed


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, FileLock]:
    """A new folder, and its lock: until this is held another process may take the folder for abandoned."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = FileLock(folder / _LOCK_NAME)
        with suppress(Timeout, FileNotFoundError, FileExistsError):  # it is just being removed
            with suppress(NotImplementedError):  # of a file system without locks: nobody can have it
                lock.acquire(timeout=0)
            return folder, lock


def _remove_if_abandoned(folder: Path) -> bool:
    lock = FileLock(folder / _LOCK_NAME)
    try:
        if not (folder / _LOCK_NAME).exists() and any(folder.iterdir()):
            return False  # somebody's own; an empty one is of a process killed right after it was made
        lock.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):  # in use, or not ours to judge
        return False
    shutil.rmtree(folder, ignore_errors=True)  # while it cannot be taken into use
    lock.release()
    return not folder.exists()
