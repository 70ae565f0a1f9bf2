"""A job scheduler's end of a training is as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from typing import Any


def interrupt_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt, so that temporary slices are removed and trackers told.

    Only where nothing else handles it: not in a program with a handler of its own, nor in another thread than the
    main one, which alone can have it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: Any) -> None:
    # Schedulers end the loader's workers, too, of which PyTorch's handler would make an error in place of this one.
    signal.signal(signal.SIGCHLD, _pass)
    raise KeyboardInterrupt


def _pass(*_: Any) -> None:
    pass
