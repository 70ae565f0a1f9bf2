"""Time that this process has used since it was started, imports included."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

_LOADED = time.monotonic()  # where the system does not tell when the process was started
_PAUSE_SECONDS = 0.5  # between two looks at the workers
_PROCESSES = Path("/proc")  # of Linux
_FIRST_FIELD = 3  # of /proc/PID/stat behind the name, which may have spaces


class WallClock:
    """Seconds since the start of the process; where there is no /proc, since this module was loaded."""

    def __init__(self) -> None:
        self._start = _LOADED
        ticks = _stat(os.getpid(), 22)
        if ticks:
            self._start = time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks[0])

    def __call__(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start


class CpuClock:
    """Seconds of CPU, user and system, of all threads of the process, of its workers, and of processes that ended.

    Workers are those of ``multiprocessing``, as a DataLoader's are. Where there is no /proc, they count when they have
    ended.
    """

    def __init__(self) -> None:
        self._children = 0.0
        self._looked_at = float("-inf")

    def __call__(self) -> float:
        """Seconds so far; the workers' are up to half a second old."""
        if time.monotonic() - self._looked_at >= _PAUSE_SECONDS:
            self._looked_at = time.monotonic()
            alive = [process.pid for process in multiprocessing.active_children()]
            ended = os.times()  # after the line above, which may have found one that has ended
            living = sum(sum(_stat(pid, 14, 15)) for pid in alive if pid is not None)
            self._children = ended.children_user + ended.children_system + living
        return time.process_time() + self._children


def _stat(pid: int, *fields: int) -> list[float]:
    """Fields of /proc/PID/stat that are times, in seconds; none where there is no such process."""
    try:
        values = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(values[field - _FIRST_FIELD]) / os.sysconf("SC_CLK_TCK") for field in fields]
