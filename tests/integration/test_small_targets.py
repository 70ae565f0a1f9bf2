"""What the defaults learn from pictures whose targets are small, some of them without any."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.data import make_phantoms

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.nightly
def test_the_defaults_come_out_with_foreground_in_a_minute(bundle_run: Run, tmp_path: Path) -> None:
    """With the paper's loss, timesteps and frozen decoder, as many steps leave three of the five empty."""
    make_phantoms(tmp_path / "data", num_cases=60, num_classes=2, size=(64, 64), target_share=(0.01, 0.15))
    output = tmp_path / "run"
    options = ["--dataset_dir", tmp_path / "data", "--num_classes", 2, "--output_dir", output, "--num_overlays", 0]
    bundle_run(
        "training",
        "--config_file",
        "bundles/leaf_seg/configs/train.json",
        *options,
        "--batch_size",
        8,
        "--max_epochs",
        24,
    )
    with (output / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(float(last["val_num_with_foreground"])) >= 5
    assert int(float(last["val_num_predicted_empty"])) == 0
    assert float(last["val_positive_dice"]) > 0.5
