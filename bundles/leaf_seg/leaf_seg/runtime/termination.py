"""What is to end with an interruption ends tidily: by Ctrl-C or a job scheduler, here or in a process started here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

# For a process that is to import PyTorch: the threads of OpenMP spin while they wait, and where others need the cores,
# too, that makes all of them many times slower.
RESTING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
_GRACE_SECONDS = 30.0  # to end by a Ctrl-C that has reached it, before it is told once more
BY_SIGTERM = ("SIGTERM",)  # arguments of the KeyboardInterrupt

_interruption: list[KeyboardInterrupt] = []  # the last one that came, for where it is lost
_postponing: list[None] = []  # one for each block of postponed() that is running


def interrupt_on_signals() -> None:
    """Let SIGTERM and Ctrl-C raise KeyboardInterrupt, so that temporary slices are removed and trackers told.

    The interruption is kept for :func:`raise_if_interrupted`, too: raised within a destructor or in what C++ has
    called it would be lost, or come out as another error, as of ``torch.save``.

    Only where nothing else handles them: not in a program with handlers of its own, nor in another thread than the main
    one, which alone can have them. At a prompt Ctrl-C stays what it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _interruption.clear()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and not hasattr(sys, "ps1"):
        signal.signal(signal.SIGINT, _interrupt)


def raise_if_interrupted() -> None:
    """Raise the interruption that has come, where the block that it came in has not ended by it.

    For loops, and where errors are handled that may be an interruption's.

    Raises:
        KeyboardInterrupt: If so, once.
    """
    if _interruption:
        raise _interruption.pop()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the block end by an interruption that came in it, lost or not, and be done with it then.

    Raises:
        KeyboardInterrupt: That.
    """
    try:
        yield
        raise_if_interrupted()
    except KeyboardInterrupt:
        _interruption.clear()
        raise


@contextmanager
def postponed() -> Iterator[None]:
    """Let an interruption that comes in the block end it at its end, and not before.

    For what several processes do together, of which none may leave in the midst.

    Raises:
        KeyboardInterrupt: That.
    """
    _postponing.append(None)
    try:
        yield
    finally:
        _postponing.pop()
    if not _postponing:
        raise_if_interrupted()


def run_python(words: Sequence[str], **kwargs: Any) -> int:
    """Run ``python`` with these words in a process of its own, and return its exit code.

    When this process is interrupted, that one is given the time to remove its temporary slices and to tell its tracker,
    which ``subprocess.run`` would not. Ctrl-C reaches both; SIGTERM, if :func:`interrupt_on_signals` was called, is
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
    _come(KeyboardInterrupt())


def _terminate(*_: Any) -> None:
    # Schedulers end the loader's workers, too, of which PyTorch's handler would make an error in place of this one.
    signal.signal(signal.SIGCHLD, _pass)
    signal.signal(signal.SIGTERM, _pass)  # a second one does not break the tidying up after the first
    _come(KeyboardInterrupt(*BY_SIGTERM))


def _come(interruption: KeyboardInterrupt) -> None:
    _interruption[:] = [interruption]
    if not _postponing:
        raise interruption


def _pass(*_: Any) -> None:
    pass
