"""What is to end with an interruption ends tidily: by Ctrl-C or a job scheduler, here or in a process started here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

# For a process that is to import PyTorch: the threads of OpenMP spin while they wait, and where others need the cores,
# too, that makes all of them many times slower.
RESTING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
_GRACE_SECONDS = 30.0  # to end by a Ctrl-C that has reached it, before it is told once more
BY_SIGTERM = ("SIGTERM",)  # arguments of the KeyboardInterrupt


def interrupt_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt, so that temporary slices are removed and trackers told.

    Only where nothing else handles it: not in a program with a handler of its own, nor in another thread than the
    main one, which alone can have it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def run_python(words: Sequence[str], **kwargs: Any) -> int:
    """Run ``python`` with these words in a process of its own, and return its exit code.

    When this process is interrupted, that one is given the time to remove its temporary slices and to tell its tracker,
    which ``subprocess.run`` would not. Ctrl-C reaches both; SIGTERM, if :func:`interrupt_on_sigterm` was called, is
    passed on.

    Its threads do not spin while they wait (``OMP_WAIT_POLICY``), unless the environment says otherwise.

    Args:
        words: after ``python``.
        **kwargs: as for ``subprocess.Popen``.

    Raises:
        KeyboardInterrupt: After the process has ended.
    """
    process = subprocess.Popen([sys.executable, *words], env=RESTING_THREADS | os.environ, **kwargs)
    try:
        return process.wait()
    except KeyboardInterrupt as interruption:
        _let_end(process, knows=interruption.args != BY_SIGTERM)
        raise


def _let_end(process: subprocess.Popen[Any], knows: bool) -> None:
    """Wait for the end, whatever comes; ``knows``: whether the process has had the interruption, too."""
    while process.poll() is None:
        if not knows:
            process.terminate()
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_GRACE_SECONDS)
        knows = False


def _interrupt(*_: Any) -> None:
    # Schedulers end the loader's workers, too, of which PyTorch's handler would make an error in place of this one.
    signal.signal(signal.SIGCHLD, _pass)
    signal.signal(signal.SIGTERM, _pass)  # a second one does not break the tidying up after the first
    raise KeyboardInterrupt(*BY_SIGTERM)


def _pass(*_: Any) -> None:
    pass
