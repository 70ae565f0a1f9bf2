"""One training at a time writes to a folder."""

from __future__ import annotations

import atexit
import json
import logging
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)

_LOCK_NAME = ".lock"  # the system lets go of it when the process ends, however it ends
_WRITER_NAME = ".writer.json"  # who holds it
CLAIM_NAMES = (_LOCK_NAME, _WRITER_NAME)  # the files of a claim
_SECONDS = 1.0  # to wait for it: a process that was killed may just be ending

_claims: dict[tuple[int, Path], FileLock] = {}  # by process, since a forked one has a copy


def claim_folder(folder: Path) -> bool:
    """Let this process alone write to a folder, until :func:`release_folder` or its end.

    Args:
        folder: that exists.

    Returns:
        Whether the process that wrote there before did not come to its end.

    Raises:
        InputError: When another process writes there; says which.
    """
    folder = folder.resolve()
    if not is_rank_zero() or (os.getpid(), folder) in _claims:
        return False
    lock = FileLock(folder / _LOCK_NAME)
    try:
        _acquire(lock, folder)
    except NotImplementedError:
        logger.warning("The file system of %s has no locks: that nothing else writes there is up to you.", folder)
        return False
    _claims[os.getpid(), folder] = lock
    writer = _writer(folder)
    if writer is not None:
        logger.warning("%s did not come to its end.", _described(writer))
    (folder / _WRITER_NAME).write_text(json.dumps(_this_process()) + "\n")
    return writer is not None


def is_claimed_by_another(folder: Path) -> bool:
    """Whether another process writes to a folder."""
    folder = folder.resolve()
    if (os.getpid(), folder) in _claims or not (folder / _LOCK_NAME).exists():
        return False
    try:
        with FileLock(folder / _LOCK_NAME).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (NotImplementedError, OSError):  # no locks there, or not ours to open: nobody can be seen to hold it
        return False


def release_folder(folder: Path) -> None:
    """Let others write to the folder."""
    folder = folder.resolve()
    lock = _claims.pop((os.getpid(), folder), None)
    if lock is not None:
        (folder / _WRITER_NAME).unlink(missing_ok=True)
        lock.release()


@atexit.register
def release_all() -> None:
    """What the end of the process does."""
    for _, folder in list(_claims):
        release_folder(folder)


def _acquire(lock: FileLock, folder: Path) -> None:
    try:
        lock.acquire(timeout=_SECONDS)
    except Timeout:
        writer = _writer(folder)
        name = "Another process" if writer is None else _described(writer)
        raise InputError(
            f"{name} is writing to {folder}; expected a folder that nothing else writes to. Wait for its end, stop it, "
            "or choose another --output_dir."
        ) from None


def _this_process() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "host": platform.node(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
    }


def _writer(folder: Path) -> dict[str, Any] | None:
    """Who writes there or did, and has not said that it ended."""
    file = folder / _WRITER_NAME
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _described(writer: dict[str, Any]) -> str:
    return (
        f"Process {writer.get('process', '(unknown)')} on {writer.get('host', 'an unknown host')}, started "
        f"{writer.get('started', 'at an unknown time')} ({str(writer.get('command', 'unknown command'))[:200]}),"
    )
