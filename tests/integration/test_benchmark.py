"""scripts/benchmark.py, with numbers small enough for a test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
import torch

from benchmark import Stopwatch, time_module

Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["--image_size", 32, "--batch_size", 2, "--rounds", 2, "--steps", 1, "--precision", "fp32"]
NETWORKS = ["--set", "unet_config#block_out_channels=[32,32,32]", "features=[8,8,8,8,8,8]", "train_decoder=False"]


def test_every_network_and_part_has_its_time(run_python: Run) -> None:
    result = run_python("scripts/benchmark.py", *SMALL, *NETWORKS)
    steps = {line.split()[0]: line.split() for line in result.stdout.splitlines() if re.match(r"(leaf|unet) ", line)}
    assert float(steps["unet"][2]) == 1  # times itself
    milliseconds = float(steps["leaf"][1])
    assert milliseconds > 0
    parameters = {name: [int(cell.replace(",", "")) for cell in cells[4:6]] for name, cells in steps.items()}
    assert parameters["leaf"][0] > parameters["leaf"][1] > 1e5  # the decoder is frozen
    assert parameters["unet"][0] == parameters["unet"][1] < 1e5
    rows = re.findall(r"^(\S.*?)  +([\d.]+) \( *\d+%\)  +([\d.]+) \(", result.stdout, re.MULTILINE)
    parts = {name: (float(leaf), float(unet)) for name, leaf, unet in rows}
    in_both = {"data, augmentation", "losses", "optimiser, clip, EMA", "rest"}
    in_leaf = {"mask encoder", "image encoder", "U-Net", "mask decoder"}
    assert set(parts) == in_both | in_leaf | {"network"}
    assert all(parts[name][0] > 0 and parts[name][1] == 0 for name in in_leaf)
    assert parts["network"][0] == 0 < parts["network"][1]
    assert sum(leaf for leaf, _ in parts.values()) == pytest.approx(milliseconds, abs=1)


def test_a_network_that_is_not_there(run_python: Run) -> None:
    result = run_python("scripts/benchmark.py", *SMALL, "--networks", "no_such_net", check=False)
    assert result.returncode == 2
    assert "No baseline or overlay 'no_such_net'" in result.stdout


def test_a_stopwatch_counts_while_it_runs() -> None:
    watch = Stopwatch(torch.device("cpu"))
    times = iter(range(100))
    watch.now = lambda: float(next(times))  # type: ignore[method-assign]
    watch.turn_to("before")
    with watch.running():  # 0
        assert watch.turn_to("inner") == "rest"  # 1
        assert watch.turn_to("rest") == "inner"  # 2
    watch.turn_to("after")
    assert watch.seconds == {"rest": 2.0, "inner": 1.0}


def test_a_module_has_the_time_of_its_backward_pass_too() -> None:
    watch = Stopwatch(torch.device("cpu"))
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    time_module(first, "first", watch)
    time_module(second, "second", watch)
    parts: list[str] = []
    turn_to = watch.turn_to

    def note(part: str) -> str:
        parts.append(part)
        return turn_to(part)

    watch.turn_to = note  # type: ignore[method-assign]
    with watch.running():
        second(first(torch.rand(3, 2))).sum().backward()
    forward = ["first", "rest", "second", "rest"]
    assert parts == [*forward, "second", "first", "rest"]
