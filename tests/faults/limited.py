"""Commands in a child process that may take so much memory and time, and no more."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import torch

from tests.in_process import run_in_process

MB = 1024**2
_SLACK = 512 * MB  # of address space, which libraries reserve and do not use


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        code: exit code; negative for a signal.
        out: what it wrote to standard output, from C libraries, too.
        err: what it wrote to standard error.
        peak: greatest memory in bytes that it had beyond what it began with; code of libraries that it was the first to
            use counts, too, up to some 100 MB.
        seconds: that it took.
    """

    code: int
    out: str
    err: str
    peak: int
    seconds: float

    @property
    def last_line(self) -> str:
        """The last line of standard error, which is where a command says why it ended."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def run_limited(function: Callable[[], int], memory: int = 1024 * MB, seconds: float = 60) -> Outcome:
    """Call a function in a fork of this process, which has imported what it needs: that takes milliseconds.

    Args:
        function: returns an exit code; an exception that it lets through is 70, with its traceback.
        memory: bytes that it may take; beyond them allocations fail.
        seconds: after which it is killed.
    """
    assert torch.get_num_threads() == 1, "threads do not survive a fork"
    sys.stdout.flush()
    sys.stderr.flush()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # what earlier tests have freed is neither the child's from the beginning nor left to it
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        to_read, to_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(to_write, str(_resident()).encode())
            _be_child(function, memory, out.fileno(), err.fileno())
        before = int(os.read(to_read, 32))
        os.close(to_read)
        os.close(to_write)
        status, peak = _wait(child, started + seconds)
        took = time.monotonic() - started
        written = [_text(file) for file in (out, err)]
    return Outcome(os.waitstatus_to_exitcode(status), written[0], written[1], max(peak - before, 0), took)


def run_command_limited(*arguments: object, memory: int = 1024 * MB, seconds: float = 60) -> Outcome:
    """As :func:`run_limited`, of ``python ARGUMENTS`` started in the repository root."""

    def command() -> int:
        result = run_in_process(*arguments)
        sys.stdout.write(result.stdout)
        sys.stderr.write(result.stderr)
        return result.returncode

    return run_limited(command, memory, seconds)


def assert_one_line(outcome: Outcome, *words: str) -> None:
    """A refusal as users are to have it: the program's own message, with these words in it, and no traceback."""
    told = f"exit code {outcome.code}\n{outcome.err[-3000:]}"
    assert outcome.code > 0, told
    assert outcome.code != 70, told
    assert "Traceback" not in outcome.err, told
    assert outcome.last_line.startswith("leaf_seg: "), told
    for word in words:
        assert word in outcome.last_line, f"{word!r} is not in: {told}"


def _be_child(function: Callable[[], int], memory: int, out: int, err: int) -> None:
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115  # not pytest's
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory + _SLACK
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, deadline: float) -> tuple[int, int]:
    """Status and greatest memory of a child, which is killed at the deadline."""
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return status, usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return status, usage.ru_maxrss * 1024
        time.sleep(0.005)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if not sys.platform.startswith("linux"):
    pytest.skip("memory is limited and measured as Linux does it", allow_module_level=True)
