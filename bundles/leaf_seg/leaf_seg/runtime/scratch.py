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
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = FileLock(folder / _LOCK_NAME)
    try:
        with suppress(NotImplementedError):  # of a file system without locks: nobody can have it, and it is never taken
            lock.acquire(timeout=0)
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
        if folder.is_dir() and not folder.is_symlink() and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += not folder.exists()
    if removed:
        logger.warning("Removed what a process that was killed had left in %s (%d %s*).", parent, removed, prefix)
    return removed


def _is_abandoned(folder: Path) -> bool:
    file = folder / _LOCK_NAME
    if not file.exists():  # somebody's own, unless it was killed right after it was made
        return not any(folder.iterdir())
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):  # in use, or not ours to judge
        return False
    lock.release()
    return True
