"""Runs that are killed, as by a machine out of memory, and started again."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient

from leaf_seg.tracking import local_store

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 180.0  # in which a run must come to where it is to be killed

# What processes leave in folders of theirs while they live, or for good.
_LITTER = ("**/.unfinished_*", "**/slices_*", "**/.writer.json", "**/.[0-9]*.*", "**/*.damaged")


class Killable:
    """A command that can be started, killed with all its processes, and started again.

    Args:
        words: after ``python``.
        log: what it writes is added to this file.
        temporary: folder for its temporary files.
    """

    def __init__(self, words: Sequence[object], log: Path, temporary: Path) -> None:
        self.words = [sys.executable, *map(str, words)]
        self.log = log
        self.temporary = temporary
        temporary.mkdir(parents=True, exist_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary), "HF_HUB_OFFLINE": "1"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.words, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def run(self) -> None:
        """Let it come to its end."""
        process = self.start()
        try:
            code = process.wait(timeout=_SECONDS * 2)
        finally:
            kill(process)
        assert code == 0, self.log.read_text()[-4000:]

    def run_until(self, ready: Callable[[], bool], delay: float = 0.0) -> bool:
        """Start it and kill it some seconds after it is ready for it; whether it was alive then."""
        process = self.start()
        deadline = time.monotonic() + _SECONDS
        try:
            while not ready() and process.poll() is None:
                assert time.monotonic() < deadline, self.log.read_text()[-4000:]
                time.sleep(0.0005)
            ended = _ended_within(process, delay)
        finally:
            kill(process)
        assert not ended or process.returncode == 0, self.log.read_text()[-4000:]
        return not ended


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(timeout=max(seconds, 0.0005))
    except subprocess.TimeoutExpired:
        return False
    return True


def litter(*folders: Path) -> list[str]:
    """What is left over in folders, also by a run in this process whose data set is not yet collected."""
    gc.collect()
    return sorted(str(path) for folder in folders for pattern in _LITTER for path in folder.glob(pattern))


def read_rows(file: Path) -> list[list[str]]:
    """Cells of a table without the seconds, which differ."""
    rows = [line.split(",") for line in file.read_text().splitlines()]
    seconds = rows[0].index("seconds") if "seconds" in rows[0] else None
    return [[cell for index, cell in enumerate(row) if index != seconds] for row in rows]


def assert_same(one: Any, two: Any) -> None:
    """Two states are equal bit for bit, but for seconds."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one.keys() - {"seconds", "model"}:  # the bytes of equal models may differ
            assert_same(one[key], two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


def assert_same_training(whole: Path, killed: Path, tracked: bool) -> None:
    """Two trainings came to the same: checkpoints, models, tables, and what MLflow has."""
    for name in ("checkpoints/last.pt", "model.pt"):
        assert_same(*(torch.load(folder / name, weights_only=True) for folder in (whole, killed)))
    for table in ("losses.csv", "metrics.csv"):
        assert read_rows(whole / table) == read_rows(killed / table)
    assert {path.name for path in (whole / "overlays").glob("*")} == {
        path.name for path in (killed / "overlays").glob("*")
    }
    if tracked:
        assert _logged(whole) == _logged(killed)


def _logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of all metrics of the one MLflow run in a training's store, which has ended well."""
    client = MlflowClient(local_store(folder))
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert {"model.pt", "config.json"} <= {path.name for path in folder.iterdir()}
    histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return {key: sorted((metric.step, metric.value) for metric in history) for key, history in histories.items()}
