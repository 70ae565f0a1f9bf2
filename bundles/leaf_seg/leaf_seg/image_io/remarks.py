"""What a file says of itself that its user should know, in one line of the log."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import printable

logger = logging.getLogger(__name__)

Remark = tuple[str, str, str]  # its kind, the file's path, and what it says of it

_said: set[str] = set()
_listeners: list[list[Remark]] = []


def remark(kind: str, path: PathLike, what: str) -> None:
    """Warn of a file; of each kind only the first in a process, since a data set's files often share it.

    Of several processes, and of the workers that load data, the first one speaks.

    Args:
        kind: of remark.
        path: of the first such file.
        what: follows the file's name: what was found, how it is taken, what to do.
    """
    for heard in _listeners:
        heard.append((kind, str(path), what))
    if kind in _said:
        return
    _said.add(kind)
    from torch.utils.data import get_worker_info

    worker = get_worker_info()
    if os.environ.get("RANK", "0") == "0" and (worker is None or worker.id == 0):
        logger.warning("%s: %s (Said once; other files may be like it.)", printable(path), what)


@contextmanager
def heard_remarks() -> Iterator[list[Remark]]:
    """The remarks that are made in the block, also those that have been said before; the list grows."""
    heard: list[Remark] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.pop()


def forget_remarks() -> None:
    """Begin anew, as a new process would."""
    _said.clear()
