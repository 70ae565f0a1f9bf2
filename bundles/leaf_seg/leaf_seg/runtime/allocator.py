"""Memory that a process keeps for its next step instead of giving it back to the system."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Options of glibc's mallopt, and what it comes to by itself where large blocks are freed again and again.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Let this process keep memory that it frees, for the same sizes are asked for again at every step.

    Otherwise glibc gives large blocks back at once, and the system clears new ones page by page: a tenth of a training
    step on a CPU. Until the end the process stays as large as it was at its largest; then what is free is given back.
    Elsewhere than on glibc nothing happens.

    Yields:
        Whether that is possible.
    """
    if platform.libc_ver()[0] != "glibc":
        yield False
        return
    libc = ctypes.CDLL(None)
    try:
        yield bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, -1))
    finally:
        for option, value in _USUAL.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)
