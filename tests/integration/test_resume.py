"""Killed at random and resumed, a training ends as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]

NUM_KILLS = 10
STEPS_PER_EPOCH, MAX_EPOCHS = 7, 12
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "batch_size": 1,
    "accumulation_steps": 2,
    "max_epochs": MAX_EPOCHS,
    "val_interval": 2,
    "num_workers": 1,
    "warmup_steps": 5,
    "dropout": 0.1,
    "terminal_probability": 0.5,
    "checkpoint_minutes": 0,
    "num_overlays": 1,
}


@pytest.fixture
def command(pictures: Path, small: list[str]) -> Callable[..., list[str]]:
    """The training command, for an output folder."""

    def make(output: Path, *arguments: object) -> list[str]:
        words = ["-m", "monai.bundle", "run", "training", *TRAIN, "--bundle_root", "bundles/leaf_seg", *small]
        words += [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]
        words += ["--dataset_dir", str(pictures), "--output_dir", str(output)]
        return [sys.executable, *words, *map(str, arguments)]

    return make


def num_steps(output: Path) -> int:
    file = output / "losses.csv"
    return max(len(file.read_text().splitlines()) - 1, 0) if file.exists() else 0


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool], delay: float = 0.0) -> None:
    """SIGKILL to the process and its workers, some seconds after it is ready for it."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.0002)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def assert_same(one: Any, two: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one.keys() - {"seconds"}:
            assert_same(one[key], two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


@pytest.mark.slow
def test_killed_ten_times_and_resumed(command: Callable[..., list[str]], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tracking = ["--tracking", "mlflow"]
    subprocess.run(command(whole, *tracking), cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert num_steps(whole) == STEPS_PER_EPOCH * MAX_EPOCHS

    choice = random.Random(0)
    during_write = 0
    with (tmp_path / "killed.log").open("wb") as log:

        def start() -> subprocess.Popen[bytes]:
            words = command(killed, "--resume", "true", *tracking)
            return subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

        for kill in range(NUM_KILLS):
            target = num_steps(killed) + choice.randint(1, 6)
            process = start()
            unfinished = killed / "checkpoints" / f".{process.pid}.last.pt"
            if kill < 3:  # while it starts: in the imports, while MLflow makes its store, wherever it may be
                until = time.monotonic() + choice.uniform(1, 9)
                kill_when(process, lambda: time.monotonic() > until)  # noqa: B023
            elif kill % 2:  # while it writes a checkpoint
                kill_when(process, lambda: num_steps(killed) >= target and unfinished.exists())  # noqa: B023
                during_write += unfinished.exists()
            else:
                kill_when(process, lambda: num_steps(killed) >= target, choice.uniform(0, 0.1))  # noqa: B023
        last = command(killed, "--resume", "true", *tracking)
        subprocess.run(last, cwd=ROOT, check=True, stdout=log, stderr=log, timeout=300)
    assert during_write >= 2  # half a file was left behind, not a checkpoint

    states = [torch.load(folder / "checkpoints" / "last.pt", weights_only=True) for folder in (whole, killed)]
    assert_same(*states)
    models = [torch.load(folder / "model.pt", weights_only=True) for folder in (whole, killed)]
    assert_same(*models)
    for table in ("losses.csv", "metrics.csv"):
        assert read_rows(whole / table) == read_rows(killed / table)
    assert len(json.loads((killed / "manifest.json").read_text())["sessions"]) > NUM_KILLS - 3

    losses = []
    for folder in (whole, killed):
        client = MlflowClient(path_to_sqlite_uri(str(folder / "mlruns.db")))
        experiment = client.get_experiment_by_name("leaf_seg")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "train_loss")
        losses.append({metric.step: metric.value for metric in history})
        # A step that was done again after a kill may stand there twice, and has the same loss.
        assert len({(metric.step, metric.value) for metric in history}) == len(losses[-1])
    assert losses[0] == pytest.approx(losses[1])
    assert sorted(losses[0]) == list(range(1, STEPS_PER_EPOCH * MAX_EPOCHS + 1))


@pytest.mark.slow
def test_a_stopped_training_is_refused_or_resumed(
    run_python: Run, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Stopped by its time budget; then as a user goes on."""

    def train(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_python(*command(tmp_path, *arguments)[1:], check=check)

    train("--max_minutes", "0.0001")
    steps = num_steps(tmp_path)
    assert 0 < steps < STEPS_PER_EPOCH * MAX_EPOCHS
    assert (tmp_path / "model.pt").exists()  # what there is, is validated and saved
    refused = train(check=False)
    assert refused.returncode
    assert "--resume true" in refused.stderr
    assert "Traceback" not in refused.stderr.split("leaf_seg:")[-1]
    resumed = train("--resume", "true")
    assert num_steps(tmp_path) == STEPS_PER_EPOCH * MAX_EPOCHS
    assert f"Going on after step {steps}" in resumed.stdout
    assert "max_minutes: 0.0001 before, None now" in resumed.stdout
    again = train("--resume", "true")
    assert "All 12 epochs are trained" in again.stdout
    assert num_steps(tmp_path) == STEPS_PER_EPOCH * MAX_EPOCHS


@pytest.fixture
def short_temporary() -> Iterator[Path]:
    """A folder for temporary files whose path leaves room for that of a socket: 108 letters hold both."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
def test_ended_by_a_job_scheduler(command: Callable[..., list[str]], short_temporary: Path, tmp_path: Path) -> None:
    """SIGTERM ends it as Ctrl-C does: its slices do not stay on the disk, and the log says how to go on."""
    output, log = tmp_path / "output", tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command(output),
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(short_temporary)},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    try:
        while num_steps(output) < 2:
            assert process.poll() is None, "it ended before it could be stopped"
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.01)
        assert list(short_temporary.glob("leaf_seg_slices_*"))
        os.killpg(process.pid, signal.SIGTERM)  # with its workers, as schedulers do
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    assert "(KeyboardInterrupt)" in (output / "train.log").read_text()
    assert not list(short_temporary.glob("leaf_seg_slices_*"))
