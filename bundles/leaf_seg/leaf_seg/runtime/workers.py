"""Processes that load data: how many, and whether they can hand it on."""

from __future__ import annotations

import os
import sys
import tempfile
from multiprocessing.connection import arbitrary_address  # type: ignore[attr-defined]

from leaf_seg.runtime.errors import InputError

_MOST_BYTES = 103 if sys.platform == "darwin" else 107  # of a socket's path


def default_workers() -> int:
    """One for every two cores that this process may use, 1 to 4: the others are for the training itself.

    The processes that torchrun has started on a machine share its cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "1")
    number = max(int(sharing), 1) if sharing.isdecimal() else 1
    return min(max(cores // (2 * number), 1), 4)


def check_workers(num_workers: int) -> None:
    """Refuse workers where the temporary folder's path is too long for sockets in it.

    A worker hands on tensors over a socket there. Without one it goes on, and who waits for the tensors waits for ever.

    Args:
        num_workers: processes that load data; 0 is none, and needs no sockets.

    Raises:
        InputError: Names the folder.
    """
    if num_workers == 0:
        return
    folder = tempfile.gettempdir()
    length = len(os.fsencode(folder))
    most = length + _MOST_BYTES - len(os.fsencode(arbitrary_address("AF_UNIX")))
    if length > most:
        raise InputError(
            f"The path of the temporary folder {folder} has {length} bytes; expected at most {most}, which leave room "
            "for the sockets of num_workers processes in it. Set TMPDIR to a shorter one, or num_workers to 0."
        )
