"""A job scheduler's end of a training is as Ctrl-C."""

from __future__ import annotations

import signal
import threading


def interrupt_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt, so that temporary files are removed and trackers told.

    Only where nothing else handles it: not in a program with a handler of its own, nor in another thread than the
    main one, which alone can have it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
