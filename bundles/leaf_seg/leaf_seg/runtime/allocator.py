"""Memory that a process keeps for its next step instead of giving it back to the system."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of glibc's mallopt


def keep_freed_memory() -> bool:
    """Let this process keep memory that it has freed, for the same sizes are asked for again at every step.

    Otherwise glibc gives large blocks back at once, and the system clears new ones page by page: a tenth of a training
    step on a CPU. The process then stays as large as it was at its largest. Elsewhere than on glibc nothing happens.

    Returns:
        Whether that was possible.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
