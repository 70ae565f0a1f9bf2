"""SIGTERM as Ctrl-C, where nothing else handles it; of a training, see integration/test_resume.py."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.runtime import termination
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.termination import interrupt_on_signals, raise_if_interrupted, run_python
from leaf_seg.weights.checkpoint_folder import LAST_NAME, CheckpointFolder

BOTH = pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
PARENT = """
import sys
from leaf_seg.runtime import termination
termination._GRACE_SECONDS = float(sys.argv[1])
termination.interrupt_on_signals()
termination.run_python(sys.argv[2:])
"""
CHILD = """
import sys, time
from pathlib import Path
from leaf_seg.runtime.termination import interrupt_on_signals
interrupt_on_signals()
try:
    Path("started").touch()
    time.sleep(60)
finally:
    time.sleep(1)
    Path("tidied").touch()
"""


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    former = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for kind, handler in former.items():
        signal.signal(kind, handler)
    termination._interruption.clear()


def test_interrupts() -> None:
    interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # a second one does not: the first is being seen to


@BOTH
def test_postponed(by: signal.Signals) -> None:
    """An interruption ends the block at its end, also within another such block, and once."""
    interrupt_on_signals()
    done = []

    def interrupt() -> None:
        with termination.postponed():
            with termination.postponed():
                os.kill(os.getpid(), by)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupt()
    assert done == ["inner", "outer"]
    assert raised.value.args == (termination.BY_SIGTERM if by == signal.SIGTERM else ())
    termination.raise_if_interrupted()  # it is done with


class Interrupting(io.BytesIO):
    """A file that the interruption comes in the midst of, in a write that C++ has called."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__()
        self.by, self.writes = by, 0

    def write(self, content: Any) -> int:
        self.writes += 1
        if self.writes == 5:
            os.kill(os.getpid(), self.by)
        return super().write(content)


class Dying:
    """An object in whose destructor the interruption comes."""

    def __init__(self, by: signal.Signals) -> None:
        self.by = by

    def __del__(self) -> None:
        os.kill(os.getpid(), self.by)


@BOTH
def test_in_a_checkpoint(by: signal.Signals, tmp_path: Path) -> None:
    """PyTorch's writer makes an error of its own of it."""
    interrupt_on_signals()
    state = {str(index): torch.zeros(64, 64) for index in range(9)}
    with pytest.raises(RuntimeError):
        torch.save(state, Interrupting(by))
    for guard in (replacing(tmp_path / "a.pt"), decoration("The figure")):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interrupt_on_signals()
        with pytest.raises(KeyboardInterrupt) as error, guard:
            torch.save(state, Interrupting(by))
        assert error.value.args == (("SIGTERM",) if by == signal.SIGTERM else ())
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_being_read_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("of C++")

    folder = CheckpointFolder(tmp_path)
    folder.save({"a": torch.zeros(3)})
    interrupt_on_signals()
    monkeypatch.setattr(torch, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder.load()
    assert [path.name for path in tmp_path.iterdir()] == [LAST_NAME]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@BOTH
def test_lost_in_a_destructor(by: signal.Signals) -> None:
    interrupt_on_signals()
    raise_if_interrupted()
    Dying(by)
    with pytest.raises(KeyboardInterrupt):
        raise_if_interrupted()
    raise_if_interrupted()  # once


def test_at_a_prompt_it_stays_the_prompt_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    interrupt_on_signals()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_error_of_workers_takes_its_place() -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a worker was killed")

    signal.signal(signal.SIGCHLD, fail)
    interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGCHLD)


def test_leaves_the_handler_of_a_program() -> None:
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    interrupt_on_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_does_nothing_in_another_thread() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            interrupt_on_signals()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whole_group", "times", "grace"),
    [
        ("SIGINT", True, 1, 30),  # Ctrl-C
        ("SIGINT", False, 1, 0.1),
        ("SIGTERM", True, 1, 30),
        ("SIGTERM", True, 2, 30),
        ("SIGTERM", False, 1, 30),
        ("SIGTERM", False, 2, 30),
    ],
)
def test_a_process_may_end_before_the_one_that_runs_it(
    tmp_path: Path, number: str, whole_group: bool, times: int, grace: float
) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        outer = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(grace), "-c", CHILD],
            cwd=tmp_path,
            stderr=errors,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert outer.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(times):
            (os.killpg if whole_group else os.kill)(outer.pid, getattr(signal, number))
            time.sleep(0.5)
        assert outer.wait(timeout=20) != 0
        assert (tmp_path / "tidied").exists()
        assert "KeyboardInterrupt" in (tmp_path / "errors").read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(outer.pid, signal.SIGKILL)
        outer.wait()


def test_exit_code_of_a_process() -> None:
    assert run_python(["-c", "import sys; sys.exit(3)"]) == 3


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_an_interrupted_command_says_so_in_one_line(number: signal.Signals, name: str) -> None:
    program = (
        "import time; from leaf_seg.runtime.plain import show_errors_plainly; "
        "from leaf_seg.runtime.termination import interrupt_on_signals; "
        "interrupt_on_signals(); show_errors_plainly(); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert shown.strip() == f"leaf_seg: ended by {name}."
    assert process.returncode == -signal.SIGINT  # as of any program that Ctrl-C ends


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_a_started_process_rest(
    given: str | None, policy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    with (tmp_path / "said").open("w") as said:
        assert run_python(["-c", "import os; print(os.environ['OMP_WAIT_POLICY'])"], stdout=said) == 0
    assert (tmp_path / "said").read_text().strip() == policy
