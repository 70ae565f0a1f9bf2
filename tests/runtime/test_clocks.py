"""Time of a process since its start; the numbers come from processes that use it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from leaf_seg.runtime import clocks
from leaf_seg.runtime.clocks import CpuClock, WallClock

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
CPU_SECONDS = 0.5


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def work(ready: Event, go_on: Event) -> None:
    """A worker that has used some time and waits."""
    spin(CPU_SECONDS)
    ready.set()
    go_on.wait(60)


@needs_proc
def test_wall_time_counts_from_the_start_of_the_process() -> None:
    program = "import time; time.sleep(1); from leaf_seg.runtime.clocks import WallClock; print(WallClock()())"
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 1 <= float(result.stdout) <= time.monotonic() - started + 0.05


def test_wall_time_goes_on() -> None:
    clock = WallClock()
    before = clock()
    time.sleep(0.05)
    assert clock() - before >= 0.05


def test_without_proc_wall_time_counts_from_the_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clocks, "_PROCESSES", tmp_path)
    assert WallClock()() == pytest.approx(time.monotonic() - clocks._LOADED, abs=0.5)
    assert CpuClock()() >= time.process_time() - 0.5


@needs_proc
@pytest.mark.parametrize("start", [multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")])
def test_workers_count_while_they_live_and_once_when_they_have_ended(
    start: multiprocessing.context.ForkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "_PAUSE_SECONDS", 0.0)
    clock = CpuClock()

    def of_workers() -> float:
        return clock() - time.process_time()

    before = of_workers()
    ready, go_on = start.Event(), start.Event()
    worker = start.Process(target=work, args=(ready, go_on))
    worker.start()
    assert ready.wait(60)
    alive = of_workers() - before
    go_on.set()
    worker.join()
    ended = of_workers() - before
    assert CPU_SECONDS - 0.05 <= alive <= ended < 2 * alive


def test_workers_are_not_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def look() -> list[int]:
        looks.append(1)
        return []

    monkeypatch.setattr(multiprocessing, "active_children", look)
    clock = CpuClock()
    times = [clock() for _ in range(1000)]
    assert len(looks) < 10
    assert times == sorted(times)


@pytest.mark.parametrize("clock", [WallClock(), CpuClock()])
def test_a_look_costs_nothing(clock: Callable[[], float]) -> None:
    clock()
    started = time.process_time()
    for _ in range(1000):
        clock()
    assert time.process_time() - started < 0.2  # 0.2 ms each
