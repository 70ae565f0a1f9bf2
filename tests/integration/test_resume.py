"""A training that was stopped, as a user goes on with it; tests/integration/test_kills.py kills some."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kills import litter

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]

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


@pytest.mark.nightly
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
    assert "Engine run resuming" not in resumed.stdout  # as Ignite says, of a new training, too
    again = train("--resume", "true")
    assert "All 12 epochs are trained" in again.stdout
    assert num_steps(tmp_path) == STEPS_PER_EPOCH * MAX_EPOCHS


@pytest.mark.nightly
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
        assert list(output.glob("slices_*"))
        os.killpg(process.pid, signal.SIGTERM)  # with its workers, as schedulers do
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    assert "(KeyboardInterrupt)" in (output / "train.log").read_text()
    assert log.read_text().rstrip().endswith("leaf_seg: ended by SIGTERM.")
    assert "Traceback" not in log.read_text().rpartition("Training stopped")[2]
    assert not litter(output, short_temporary)
