"""scripts/benchmark_hypotheses.py with the shipped model."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
PARTS = ["image encoder", "U-Net", "mask decoder", "codec", "noise, resizing, mean"]


def test_the_parts_add_up(run_python: Run) -> None:
    result = run_python("scripts/benchmark_hypotheses.py", "--num_samples", 3, "--rounds", 1)
    title, head, *lines = result.stdout.splitlines()
    assert title == "cpu, 1 thread(s), 1 rounds"
    assert head.split() == ["ms", "1", "3", "times", "(range)"]
    rows = {name: [float(cell) for cell in cells[:2]] for name, *cells in (re.split(r"  +", line) for line in lines)}
    assert list(rows) == [*PARTS, "whole"]
    for column in (0, 1):
        assert rows["whole"][column] == pytest.approx(sum(rows[part][column] for part in PARTS), abs=0.3)
    assert rows["mask decoder"][1] > 1.5 * rows["mask decoder"][0]  # of each hypothesis


@pytest.mark.parametrize("model", ["autoencoder", "nowhere"])
def test_a_folder_without_a_model(run_python: Run, model: str) -> None:
    folder = Path("bundles/leaf_seg/models") / model
    result = run_python("scripts/benchmark_hypotheses.py", "--model", folder, check=False)
    assert result.returncode == 2
    assert result.stdout.startswith("benchmark: ")
