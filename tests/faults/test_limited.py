from __future__ import annotations

import time

import numpy as np

from leaf_seg.runtime.allocator import freed_memory_kept
from tests.faults.limited import MB, assert_one_line, run_command_limited, run_limited


def take(megabytes: int) -> int:
    return int(np.ones(megabytes * MB, np.uint8)[-1]) - 1


def test_memory_is_measured() -> None:
    outcome = run_limited(lambda: take(300))
    assert outcome.code == 0, outcome.err
    assert 290 * MB < outcome.peak < 400 * MB


def test_memory_that_was_free_before_counts() -> None:
    with freed_memory_kept():
        take(400)
        outcome = run_limited(lambda: take(300))
        assert 290 * MB < outcome.peak < 400 * MB
        assert run_limited(lambda: take(900), memory=100 * MB).code == 70


def test_memory_is_limited() -> None:
    outcome = run_limited(lambda: take(3000), memory=500 * MB)
    assert outcome.code == 70
    assert "MemoryError" in outcome.err or "allocate" in outcome.err


def test_time_is_limited() -> None:
    def sleep() -> int:
        time.sleep(60)
        return 0

    outcome = run_limited(sleep, seconds=0.3)
    assert outcome.code == -9
    assert outcome.seconds < 5


def test_commands_say_in_one_line_why_they_end() -> None:
    outcome = run_command_limited("-m", "leaf_seg", "segment", "/nowhere.png", "/tmp/x", "--model", "/nowhere")
    assert_one_line(outcome, "/nowhere.png", "does not exist")
