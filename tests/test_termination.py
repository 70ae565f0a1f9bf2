"""SIGTERM as Ctrl-C, where nothing else handles it; what it ends is in integration/test_resume.py."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from leaf_seg.termination import interrupt_on_sigterm


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    of_term, of_child = signal.signal(signal.SIGTERM, signal.SIG_DFL), signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGTERM, of_term)
    signal.signal(signal.SIGCHLD, of_child)


def test_interrupts() -> None:
    interrupt_on_sigterm()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_no_error_of_workers_takes_its_place() -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a worker was killed")

    signal.signal(signal.SIGCHLD, fail)
    interrupt_on_sigterm()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGCHLD)


def test_leaves_the_handler_of_a_program() -> None:
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    interrupt_on_sigterm()
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_does_nothing_in_another_thread() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            interrupt_on_sigterm()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
