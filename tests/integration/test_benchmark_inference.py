"""scripts/benchmark_inference.py with small networks, and the compositions that it compares."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
import torch

import benchmark_inference as benchmark

Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["--small", "--image_size", "128", "--rounds", "2"]
NAMES = ["published fp32", "published bf16", "leaf_seg bf16", "leaf_seg bf16, light decoder"]


@pytest.fixture(scope="module")
def candidates() -> list[benchmark.Candidate]:
    options = benchmark._parser().parse_args(SMALL)
    with torch.no_grad():
        return benchmark._candidates(torch.device("cpu"), "bf16", options)


@pytest.mark.nightly
def test_the_table(run_python: Run) -> None:
    result = run_python("scripts/benchmark_inference.py", *SMALL, "--batch_size", 1, 2)
    assert result.stdout.count("batch 1;") == result.stdout.count("batch 2;") == 1
    rows: dict[str, list[list[str]]] = {}
    for line in result.stdout.splitlines():
        if re.match("published|leaf_seg", line):
            name, *cells = re.split(r"  +", line)
            rows.setdefault(name, []).append(cells)
    assert list(rows) == NAMES
    for tables in rows.values():
        assert len(tables) == 2
        assert all(float(cells[0]) > 0 and float(cells[3]) > 0 and float(cells[4]) > 0 for cells in tables)
    assert float(rows["published bf16"][0][1]) == 1  # times itself
    assert rows["published fp32"][0][-1] == "0.000%"
    for name in ("published bf16", "leaf_seg bf16"):  # random weights leave many pixels on the edge
        assert all(0 < float(cells[-1].rstrip("%")) < 10 for cells in rows[name])


@pytest.mark.nightly
def test_both_compositions_segment_alike(candidates: list[benchmark.Candidate]) -> None:
    assert [candidate.name for candidate in candidates] == NAMES
    image = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        published, in_bf16, fast = (candidate.network(image) for candidate in candidates[:3])
    assert 0.01 < published.float().mean() < 0.99
    for other in (in_bf16, fast):
        assert (published != other).float().mean() < 0.1  # random weights leave many pixels on the edge
    weights = {parameter.dtype for parameter in candidates[2].network.parameters()}
    assert weights == {torch.bfloat16}


@pytest.mark.nightly
def test_the_published_sizes_have_the_published_arithmetic() -> None:
    """936.8 GFLOP for an image of 256 x 256; counted, not computed."""
    options = benchmark._parser().parse_args([])
    with torch.no_grad():
        found = benchmark._candidates(torch.device("cpu"), "bf16", options)
    assert found[0].gflop == pytest.approx(936.8, abs=0.1)
    assert found[2].gflop == pytest.approx(936.8, abs=0.1)
    assert found[3].gflop < 0.4 * found[0].gflop


def test_a_device_that_is_not_there(run_python: Run) -> None:
    result = run_python("scripts/benchmark_inference.py", *SMALL, "--device", "quantum", check=False)
    assert result.returncode == 2
    assert "'quantum' is no device" in result.stdout
