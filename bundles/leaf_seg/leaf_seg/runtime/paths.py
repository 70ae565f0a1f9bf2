"""What there is at a path, whatever a user has put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from leaf_seg.runtime.files import PathLike

FILE = "a file"
FOLDER = "a folder"


def kind_of(path: PathLike) -> str:
    """:data:`FILE`, :data:`FOLDER`, or in words what there is instead: "does not exist", "is a pipe", ...

    Only regular files are files: opening a pipe would wait for its other end. Never raises.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:  # a circle of links, no permission, a name too long or with a NUL
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return FOLDER
    return "is a pipe, a socket or a device"


def absolute(path: PathLike) -> Path:
    """The absolute path with ``~`` and links resolved as far as they can be; a circle of links is left as it is.

    Never raises.
    """
    try:
        return Path(os.path.realpath(os.path.expanduser(path)))
    except ValueError:  # a NUL in it
        return Path(os.path.abspath(path))
