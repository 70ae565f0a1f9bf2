"""Killed at random moments and started again, a run ends as if nothing had happened, and leaves nothing over.

``LEAF_SEG_KILLS=60 pytest tests/integration/test_kills.py -m "slow or nightly"`` kills each kind of training
that often.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kills import Killable, assert_same_training, litter

BUNDLE = "bundles/leaf_seg"
STEPS_PER_EPOCH = 7
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "batch_size": 1,
    "val_interval": 2,
    "num_workers": 1,
    "warmup_steps": 5,
    "dropout": 0.1,
    "terminal_probability": 0.5,
    "checkpoint_minutes": 0,
    "num_overlays": 1,
}


@dataclass(frozen=True)
class Kind:
    """A kind of training, and how often it is killed."""

    num_kills: int
    arguments: tuple[str, ...]
    is_tracked: bool = False
    is_baseline: bool = False

    @property
    def max_epochs(self) -> int:
        """Enough for the kills; odd, so that the last epoch is validated for its own sake."""
        return 3 + self.num_kills // 4 * 2


KINDS = {
    "tracked": Kind(3, ("--tracking", "mlflow", "--accumulation_steps", "2"), is_tracked=True),
    "baseline": Kind(
        2,
        ("--config_file", f"['{BUNDLE}/configs/train.json','{BUNDLE}/configs/baselines/unet.json']"),
        is_baseline=True,
    ),
}
if "LEAF_SEG_KILLS" in os.environ:
    KINDS = {name: replace(kind, num_kills=int(os.environ["LEAF_SEG_KILLS"])) for name, kind in KINDS.items()}


@pytest.fixture(params=[pytest.param("tracked", marks=pytest.mark.nightly), "baseline"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def training(
    kind: Kind, pictures: Path, small: list[str], small_run: list[str], tmp_path: Path, short_temporary: Path
) -> Callable[..., Killable]:
    """A training of one kind, into a folder of this name."""
    settings = SETTINGS | {"max_epochs": kind.max_epochs}
    if kind.is_baseline:
        small = small_run
        for key in ("dropout", "terminal_probability"):
            del settings[key]

    def make(name: str, *arguments: object) -> Killable:
        words = ["-m", "monai.bundle", "run", "training", "--config_file", f"{BUNDLE}/configs/train.json"]
        words += ["--bundle_root", BUNDLE, *small, "--dataset_dir", str(pictures), "--output_dir", str(tmp_path / name)]
        words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        return Killable([*words, *kind.arguments, *arguments], tmp_path / f"{name}.log", short_temporary / name)

    return make


def num_steps(output: Path) -> int:
    file = output / "losses.csv"
    return max(len(file.read_text().splitlines()) - 1, 0) if file.exists() else 0


def moments(output: Path, last_step: int, choice: random.Random) -> dict[str, tuple[Callable[[], bool], float]]:
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
        "end": (lambda: num_steps(output) >= last_step, choice.uniform(0, 2.5)),
    }


@pytest.mark.slow
def test_trainings_end_as_if_nothing_had_happened(
    kind: Kind,
    training: Callable[..., Killable],
    record_property: Callable[[str, object], None],
    tmp_path: Path,
    short_temporary: Path,
) -> None:
    training("whole").run()
    killed = training("killed", "--resume", "true")
    output = tmp_path / "killed"
    choice = random.Random(repr(kind))
    killed_in: list[str] = []
    for number in range(kind.num_kills):
        last = number >= kind.num_kills - 2  # in the last validation or after it
        name = "end" if last else choice.choice(["start", "training", "checkpoint", "model", "overlay"])
        ready, delay = moments(output, STEPS_PER_EPOCH * kind.max_epochs, choice)[name]
        if killed.run_until(ready, delay):
            killed_in.append(name)
    killed.run()
    counts = dict(Counter(killed_in))
    record_property("kills", counts)
    sys.stderr.write(f"killed {counts}\n")
    assert len(killed_in) >= kind.num_kills // 2
    assert_same_training(tmp_path / "whole", output, tracked=kind.is_tracked)
    assert not litter(output, short_temporary)
