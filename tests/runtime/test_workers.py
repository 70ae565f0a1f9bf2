"""Sockets of worker processes need paths of a length that the system can open."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaf_seg.runtime.workers import default_workers

ROOT = Path(__file__).resolve().parents[2]
CHECK = "from leaf_seg.runtime.workers import check_workers; check_workers({number})"
# What a worker hands on goes over a socket in the temporary folder.
LOAD = """
from torch.utils.data import DataLoader, TensorDataset
import torch
if __name__ == "__main__":
    print(len(list(DataLoader(TensorDataset(torch.ones(2, 2)), num_workers=1))))
"""
LONGEST = 75  # Linux: 107 without /pymp-xxxxxxxx/listener-xxxxxxxx


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs Python code where the temporary folder's path has so many bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:

        def run(code: str, length: int) -> subprocess.CompletedProcess[str]:
            folder = Path(parent) / ("x" * (length - len(parent) - 1))
            folder.mkdir(exist_ok=True)
            environment = os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
            words = [sys.executable, "-c", code]
            return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

        yield run


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the length is that of Linux")
def test_the_longest_path_is_let_pass_and_works(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    passed = run(CHECK.format(number=1), LONGEST)
    assert passed.returncode == 0, passed.stderr
    assert run(LOAD, LONGEST).stdout == "2\n"
    refused = run(CHECK.format(number=2), LONGEST + 1)
    assert "x has 76 bytes; expected at most 75" in refused.stderr
    assert "Set TMPDIR to a shorter one, or num_workers to 0." in refused.stderr
    assert run(CHECK.format(number=0), LONGEST + 1).returncode == 0


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (4, 2), (7, 3), (64, 4)])
def test_a_worker_for_every_two_cores(cores: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers() == expected
