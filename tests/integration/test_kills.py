"""Killed at random moments and started again, a run ends as if nothing had happened, and leaves nothing over.

``LEAF_SEG_KILLS=60 pytest tests/integration/test_kills.py -m slow`` kills each kind of training that often.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kills import Killable, assert_same_training, litter

NUM_KILLS = int(os.environ.get("LEAF_SEG_KILLS", "7"))
BUNDLE = "bundles/leaf_seg"
STEPS_PER_EPOCH, MAX_EPOCHS = 7, 3 + NUM_KILLS // 2 // 2 * 2  # odd: the last epoch is validated for its own sake
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "batch_size": 1,
    "max_epochs": MAX_EPOCHS,
    "val_interval": 2,
    "num_workers": 1,
    "warmup_steps": 5,
    "dropout": 0.1,
    "terminal_probability": 0.5,
    "checkpoint_minutes": 0,
    "num_overlays": 1,
}
KINDS: dict[str, list[str]] = {
    "tracked": ["--tracking", "mlflow"],
    "accumulating": ["--accumulation_steps", "2", "--terminal_probability", "0"],
    "baseline": ["--config_file", f"['{BUNDLE}/configs/train.json','{BUNDLE}/configs/baselines/unet.json']"],
}


@pytest.fixture(params=KINDS)
def training(
    request: pytest.FixtureRequest, pictures: Path, small: list[str], small_run: list[str], tmp_path: Path
) -> Callable[..., Killable]:
    """A training of one kind, into a folder of this name."""
    settings = dict(SETTINGS)
    if request.param == "baseline":
        small = small_run
        for key in ("dropout", "terminal_probability"):
            del settings[key]

    def make(name: str, *arguments: object) -> Killable:
        words = ["-m", "monai.bundle", "run", "training", "--config_file", f"{BUNDLE}/configs/train.json"]
        words += ["--bundle_root", BUNDLE, *small, "--dataset_dir", str(pictures), "--output_dir", str(tmp_path / name)]
        words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        return Killable([*words, *KINDS[request.param], *arguments], tmp_path / f"{name}.log", tmp_path / f"{name}_tmp")

    return make


def num_steps(output: Path) -> int:
    file = output / "losses.csv"
    return max(len(file.read_text().splitlines()) - 1, 0) if file.exists() else 0


def moments(output: Path, choice: random.Random) -> dict[str, tuple[Callable[[], bool], float]]:
    """When to kill: what must be there, and how many seconds later."""
    target = num_steps(output) + choice.randint(1, 4)

    def writing(folder: Path) -> Callable[[], bool]:
        return lambda: num_steps(output) >= target and any(folder.glob(".unfinished_*/*"))

    return {
        "start": (lambda: True, choice.uniform(0, 12)),
        "training": (lambda: num_steps(output) >= target, choice.uniform(0, 0.3)),
        "checkpoint": (writing(output / "checkpoints"), 0.0),
        "model": (writing(output), choice.uniform(0, 0.002)),
        "overlay": (lambda: any((output / "overlays").glob(".unfinished_*/*")), 0.0),
        "end": (lambda: num_steps(output) >= STEPS_PER_EPOCH * MAX_EPOCHS, choice.uniform(0, 2.5)),
    }


@pytest.mark.slow
def test_trainings_end_as_if_nothing_had_happened(
    training: Callable[..., Killable],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
    tmp_path: Path,
) -> None:
    kind = request.node.callspec.params["training"]
    training("whole").run()
    killed = training("killed", "--resume", "true")
    output = tmp_path / "killed"
    choice = random.Random(f"{kind} {NUM_KILLS}")
    killed_in: list[str] = []
    for number in range(NUM_KILLS):
        last = number >= NUM_KILLS - 2  # in the last validation or after it
        name = "end" if last else choice.choice(["start", "training", "checkpoint", "model", "overlay"])
        ready, delay = moments(output, choice)[name]
        if killed.run_until(ready, delay):
            killed_in.append(name)
    killed.run()
    counts = dict(Counter(killed_in))
    record_property("kills", counts)
    sys.stderr.write(f"{kind}: killed {counts}\n")
    assert len(killed_in) >= NUM_KILLS // 2
    assert_same_training(tmp_path / "whole", output, tracked=kind == "tracked")
    assert not litter(output, tmp_path / "killed_tmp")
