from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaf_seg.runtime.claim import claim_folder, release_folder
from leaf_seg.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    release_folder(tmp_path)


@pytest.fixture
def other_process() -> Iterator[Callable[[Path], int]]:
    """Starts a process that claims a folder, has a child that outlives it, as loader workers do, and waits."""
    processes: list[int] = []

    def start(folder: Path) -> int:
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.setpgid(0, 0)
            claim_folder(folder)
            if os.fork():
                os.write(write, b"!")
            time.sleep(60)
            os._exit(0)
        os.read(read, 1)
        for end in (read, write):
            os.close(end)
        processes.append(process)
        return process

    yield start
    for process in processes:
        os.killpg(process, signal.SIGKILL)


def test_another_process_is_refused_and_told_who_is_at_work(folder: Path, other_process: Callable[[Path], int]) -> None:
    process = other_process(folder)
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"Process {process} on .* is writing to .*choose another --output_dir"):
        claim_folder(folder)
    assert time.monotonic() - started < 5
    assert json.loads((folder / ".writer.json").read_text())["process"] == process


def test_the_claim_of_a_process_that_was_killed_is_void(
    folder: Path, other_process: Callable[[Path], int], caplog: pytest.LogCaptureFixture
) -> None:
    process = other_process(folder)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert claim_folder(folder)
    assert f"Process {process} on " in caplog.text
    assert "did not come to its end" in caplog.text


def test_children_that_outlive_a_killed_process_do_not_hold_it(
    folder: Path, other_process: Callable[[Path], int]
) -> None:
    process = other_process(folder)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert claim_folder(folder)


def test_once_released_anyone_can_have_it(folder: Path, other_process: Callable[[Path], int]) -> None:
    assert not claim_folder(folder)
    assert not claim_folder(folder / ".." / folder.name)  # one process may ask twice
    release_folder(folder)
    assert not (folder / ".writer.json").exists()
    other_process(folder)
    with pytest.raises(InputError, match="is writing to"):
        claim_folder(folder)


@pytest.mark.parametrize("content", ["", "[1]", '{"process": "x"}'])
def test_a_spoilt_note_of_who_is_at_work(content: str, folder: Path) -> None:
    (folder / ".writer.json").write_text(content)
    assert claim_folder(folder)
