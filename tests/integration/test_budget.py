"""Limits of time, in processes as a user starts them: the whole command ends with its time, and the rate has fallen."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.tracking.run_folder import checkpoints_of

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json", "--num_classes", "3", "--image_size", "[32,32]"]
NETWORK = ["--unet_config#block_out_channels", "[32,32,32]", "--unet_config#layers_per_block", "1"]
PEAK = 0.0004
Train = Callable[..., "Times"]
Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


class Times:
    """Minutes that a process took, its workers included, and its exit code."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path, until: Path | None = None) -> None:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with log.open("w") as stream:
            process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        while until is not None and num_steps(until) < 30 and process.poll() is None:
            time.sleep(0.05)
        if until is not None:
            process.send_signal(signal.SIGTERM)
        self.code = process.wait(timeout=600)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.wall = (time.monotonic() - started) / 60
        self.cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
        self.log = log.read_text()


@pytest.fixture
def train(pictures: Path, tmp_path: Path) -> Train:
    def run(*arguments: object, until: Path | None = None) -> Times:
        words = [sys.executable, "-m", "monai.bundle", "run", "training", *TRAIN, *NETWORK, "--batch_size", "4"]
        words += ["--bundle_root", "bundles/leaf_seg", "--dataset_dir", str(pictures)]
        words += ["--logging_file", "bundles/leaf_seg/configs/logging.conf", *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        return Times(words, environment, tmp_path / "log", until)

    return run


def rows(file: Path) -> list[dict[str, float]]:
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file.open())]


def num_steps(output: Path) -> int:
    return len(rows(output / "losses.csv")) if (output / "losses.csv").exists() else 0


def rate_of_steps(output: Path) -> list[float]:
    """The rate is that of the next step."""
    return [row["learning_rate"] for row in rows(output / "losses.csv")]


def check_fell(output: Path) -> None:
    """From its peak, early, to less than a tenth at the last step."""
    rates = rate_of_steps(output)
    assert len(rates) > 20
    assert max(rates) > 0.9 * PEAK
    assert rates.index(max(rates)) < 0.3 * len(rates)
    assert rates[-2] < 0.1 * PEAK
    validated = [row["step"] for row in rows(output / "metrics.csv")]
    assert validated[-1] == len(rates)
    assert (output / "model.pt").exists()


@pytest.mark.nightly
def test_a_minute(train: Train, tmp_path: Path) -> None:
    """Of wall time; that of CPU is below."""
    times = train("--max_minutes", 1, "--output_dir", tmp_path / "run")
    assert times.code == 0, times.log[-3000:]
    if times.cpu < 0.4 * times.wall:
        pytest.skip(f"others have the cores: {times.cpu:.1f} minutes of CPU in {times.wall:.1f}")
    assert times.wall == pytest.approx(1, abs=0.2)  # a busy machine adds to it
    check_fell(tmp_path / "run")
    assert "steps in 1 minutes (max_minutes; " in times.log
    assert "resuming" not in times.log
    assert 2 <= len(rows(tmp_path / "run" / "metrics.csv")) <= 5


@pytest.mark.nightly
def test_a_stopped_training_keeps_its_plan(train: Train, tmp_path: Path) -> None:
    output = tmp_path / "run"
    options = ["--max_cpu_minutes", 1.2, "--checkpoint_minutes", 0, "--output_dir", output]
    first = train(*options, until=output)
    assert first.code == -signal.SIGINT
    assert "Traceback" not in first.log.rpartition("Training stopped")[2]
    assert first.log.rstrip().endswith("leaf_seg: ended by SIGTERM.")
    kept = checkpoints_of(output).load()
    assert kept is not None
    stopped = kept["iteration"]
    before = rate_of_steps(output)[:stopped]

    second = train(*options, "--resume", "true")
    assert second.code == 0, second.log[-3000:]
    assert first.cpu + second.cpu == pytest.approx(1.2, abs=0.25)  # the end of the first process comes on top
    rates = rate_of_steps(output)
    assert rates[:stopped] == before
    assert rates[stopped] < before[-1] < 1.4 * rates[stopped]  # its time for imports is lost to the plan
    check_fell(output)
    third = train(*options, "--resume", "true")
    assert third.code == 0
    assert num_steps(output) == len(rates)
    assert "The 1.2 minutes are used; raise max_cpu_minutes to train on." in third.log


def test_both_limits_are_refused(bundle_run: Run, pictures: Path, tmp_path: Path) -> None:
    limits = ["--max_minutes", 1, "--max_cpu_minutes", 1]
    given = ["--dataset_dir", pictures, "--output_dir", tmp_path / "run"]
    result = bundle_run("training", *TRAIN, *limits, *given, check=False)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith("max_cpu_minutes is 1; expected one of them: leave one out.")
    assert not (tmp_path / "run").exists()
