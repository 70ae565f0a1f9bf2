from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.data import make_phantoms

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.nightly
def test_two_networks_and_what_is_done_is_not_done_again(run_python: Run, tmp_path: Path) -> None:
    make_phantoms(tmp_path / "cells", num_cases=20, num_classes=2, size=(64, 64))
    words = ["scripts/equal_time.py", tmp_path / "runs", "--data", f"{tmp_path / 'cells'}:2", "--minutes", 0.2]
    first = run_python(*words)
    rows = {line.split()[3]: line.split() for line in first.stdout.splitlines() if line.startswith("cells ")}
    assert list(rows) == ["leaf", "unet"]
    for row in rows.values():
        assert row[:3] == ["cells", "0.2", "0"]
        assert int(row[4]) > 5  # steps
        assert 0 <= float(row[5]) <= 1
    assert float(rows["leaf"][5]) - float(rows["unet"][5]) == pytest.approx(float(rows["leaf"][-3]), abs=0.0015)
    again = run_python(*words)
    assert "training: " not in again.stdout
    assert [line for line in again.stdout.splitlines() if line.startswith("cells ")] == [
        line for line in first.stdout.splitlines() if line.startswith("cells ")
    ]


def test_a_data_set_without_classes_is_refused(run_python: Run, tmp_path: Path) -> None:
    result = run_python("scripts/equal_time.py", tmp_path, "--data", tmp_path, check=False)
    assert result.returncode != 0
    assert "expected FOLDER:CLASSES" in result.stdout + result.stderr
