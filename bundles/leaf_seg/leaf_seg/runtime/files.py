"""Folders that can be written to, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from leaf_seg.runtime.errors import InputError, causes
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from leaf_seg.runtime.termination import raise_if_interrupted
from leaf_seg.runtime.text import first_line, is_unicode, printable

PathLike = str | os.PathLike[str]

_UNFINISHED = ".unfinished_"  # folders beside the files, whose names no pattern of finished files matches
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: PathLike, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path that takes the place of ``path`` once the block has ended well.

    So a reader never sees half a file, and a run that breaks off leaves the former file. What a process that was killed
    in the block has left, the next one that writes to the folder removes.

    Args:
        path: file to write, in a folder that exists.
        size: bytes that it will have, where known.

    Raises:
        InputError: When the file cannot be written.
    """
    path = Path(path)
    _remove_unfinished_once(path.parent.absolute())
    with writing(path, size), scratch_folder(path.parent, _UNFINISHED) as folder:
        temporary = folder / path.name  # with the suffix, by which libraries choose a format
        yield temporary
        os.replace(temporary, path)


@contextmanager
def writing(path: PathLike, size: int | None = None) -> Iterator[None]:
    """Let errors of writing a file say which file, and how much space there is.

    Args:
        path: file that is written in the block.
        size: bytes that it will have, where known.

    Raises:
        InputError: When it cannot be written.
        KeyboardInterrupt: When an interruption has come, of which libraries written in C++ make errors of their own.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise_if_interrupted()
        if not _is_of_writing(error):
            raise
        raise InputError(_message(Path(path), error, size)) from error


def scratch_beside(folder: Path) -> AbstractContextManager[Path]:
    """A folder for temporary files in a folder, with the same that is promised of :func:`replacing`."""
    return scratch_folder(folder, _UNFINISHED)


def remove_unfinished(folder: PathLike) -> None:
    """Remove half-written files that processes which were killed have left directly in a folder."""
    remove_abandoned(Path(folder), _UNFINISHED)


@cache
def _remove_unfinished_once(folder: Path) -> None:
    """The first time that this process writes there; listing a large folder takes time."""
    remove_unfinished(folder)


def ensure_writable_folder(folder: PathLike) -> Path:
    """Create the folder where needed, and prove that files can be written there.

    Raises:
        InputError: When it cannot be made or written to.
    """
    path = Path(folder)
    if not is_unicode(path):
        raise InputError(f"The name of the output folder {printable(path)} is not UTF-8; expected one that is.")
    check_home(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * 4096)  # an empty file fits on a full disk
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise InputError(_message(path, error, None)) from error
        raise InputError(
            f"Cannot write to the output folder {path} ({error.strerror}); expected a folder that can be created and "
            "written to: choose another with --output_dir, or correct its permissions."
        ) from error
    return path


def check_home(path: Path) -> None:
    """Refuse a folder to write to whose path begins with a ``~`` that no shell has made a home folder of.

    Raises:
        InputError: For such a path, which would make a folder of that name.
    """
    if path.parts[:1] == ("~",):
        raise InputError(
            f"The output folder is {printable(path)}, whose ~ the shell has not replaced; expected the folder's whole "
            "path. Write it without quotation marks and after a space, not a =, or give the whole path."
        )


def no_space_error(error: BaseException) -> InputError | None:
    """The message for an error that a full disk has led to, wherever it was found; None for other errors."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            return InputError(_message(Path(cause.filename or tempfile.gettempdir()), cause, None))
    return None


def _is_of_writing(error: Exception) -> bool:
    """Whether writing has failed; torch and safetensors say so by exceptions of their own."""
    if isinstance(error, OSError):
        return True
    text = str(error)
    is_torch = isinstance(error, RuntimeError) and ("inline_container" in text or "PytorchStreamWriter" in text)
    return is_torch or type(error).__name__ == "SafetensorError"


def _message(path: Path, error: BaseException, size: int | None) -> str:
    """One line: what could not be written and why, with the space that there is."""
    folder = next(folder for folder in (path, *path.absolute().parents) if os.path.isdir(folder))
    free = shutil.disk_usage(folder).free
    needed = "" if size is None else f"{_megabytes(size)} are needed and "
    return (
        f"Cannot write {path} ({_reason(error, size, free)}); {needed}{_megabytes(free)} are free in {folder}. Free "
        "space or correct the permissions there, or choose another folder, then give the command again (a training "
        "with --resume true)."
    )


def _reason(error: BaseException, size: int | None, free: int) -> str:
    """Why, in the system's words where it said so: libraries written in C++ do not pass them on."""
    said = next((cause.strerror for cause in causes(error) if isinstance(cause, OSError) and cause.strerror), None)
    if said is None and size is not None and free < size:
        return os.strerror(errno.ENOSPC)
    return said or first_line(error)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
