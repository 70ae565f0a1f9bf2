"""scripts/benchmark.py --training with small networks, and what it lets train."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import benchmark_training as benchmark
from leaf_seg.runtime.errors import InputError
from measured_process import MeasuredProcess, _gflop, _turn
from published_training import PublishedTraining
from tests.in_process import everything_restored
from training_candidates import CANDIDATES, ConfiguredTraining, Job

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = ["scripts/benchmark.py", "--training", "--small", "--batch_size", "2", "--rounds", "2"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    options = benchmark._parser().parse_args(["--small", "--warm_up", "1", "--set", "unet_config#norm_num_groups=16"])
    return benchmark._prepared(tmp_path_factory.mktemp("job"), CPU, 2, options)


@pytest.fixture
def process() -> Iterator[None]:
    """What a training changes in its process is put back."""
    with everything_restored():
        yield


@pytest.mark.nightly
@pytest.mark.usefixtures("process")
def test_leaf_seg_trains_what_is_published(job: Job) -> None:
    """Alike in what is learnt and, but for the teacher at another size, in arithmetic."""
    found = {}
    for name in ("published_bf16", "leaf_seg_no_cache"):
        training = CANDIDATES[name].build(name, job)
        turn = _turn(training, 1, name, job)
        assert turn.seconds > 0
        assert turn.num_features == 0
        assert turn.peak is None or turn.peak > 1e8
        if isinstance(training, ConfiguredTraining):
            network: Any = training.trainer.network
            assert network.unet.config["norm_num_groups"] == 16  # by --set
        found[name] = training.num_trained, _gflop(training)
        training.close()
    assert found["published_bf16"][0] == found["leaf_seg_no_cache"][0] > 5e6
    assert found["leaf_seg_no_cache"][1] == pytest.approx(found["published_bf16"][1], rel=0.03)


@pytest.mark.nightly
@pytest.mark.usefixtures("process")
def test_the_cache_is_warm_after_the_first_epoch(job: Job) -> None:
    training = CANDIDATES["leaf_seg"].build("leaf_seg", job)
    with FlopCounterMode(display=False) as cold:
        first = _turn(training, 1, "leaf_seg", job)
    warm = _gflop(training)
    assert warm < 0.95 * cold.get_total_flops() / 1e9
    assert first.num_features == 2 * job.batch_size  # a mask latent and the teacher's features of each slice
    assert _turn(training, 3, "leaf_seg", job).num_features == first.num_features
    training.close()


@pytest.mark.nightly
def test_the_published_step_learns() -> None:
    training = PublishedTraining(CPU, "bf16", 1, 128, small=True)
    before = [parameter.detach().clone() for parameter in training.parameters]
    frozen = [*training.mask_encoder.parameters(), *training.teacher.parameters()]
    training.train(1)
    assert all(parameter.grad is None for parameter in frozen)
    changed = [not torch.equal(old, new) for old, new in zip(before, training.parameters, strict=True)]
    assert sum(changed) > 0.9 * len(changed)  # of the deepest attention's keys a bias has no gradient
    average = training.average.shadow_params
    assert any(not torch.equal(old, new) for old, new in zip(before, average, strict=False))
    assert len(average) == len(list(training.unet.parameters()))


@pytest.mark.nightly
def test_the_published_sizes() -> None:
    """1 272.6 GFLOP for an image of 256 x 256; counted, not computed."""
    with torch.device("meta"):
        training = PublishedTraining(torch.device("meta"), "fp32", 1, 256, small=False)
        with FlopCounterMode(display=False) as counter:
            training.train(1)
    assert training.num_trained == 294_973_828 + 34_163_664 + 6_165_248
    assert sum(parameter.numel() for parameter in training.teacher.parameters()) == 85_728_768
    assert counter.get_total_flops() / 1e9 == pytest.approx(1272.6, rel=0.005)


@pytest.mark.nightly
@pytest.mark.usefixtures("process")
def test_an_epoch_is_the_steps_that_are_not_counted(job: Job) -> None:
    """So that a cache of features is warm afterwards: every slice has been seen, and comes again mirrored alike."""
    training = CANDIDATES["unet"].build("unet", job)
    assert isinstance(training, ConfiguredTraining)
    assert training.trainer.state.epoch_length == 1
    loader: Any = training.trainer.data_loader
    epochs = [sorted(batch["image"].sum(dim=(1, 2, 3)).tolist()) for _ in range(2) for batch in loader]
    assert len(epochs) == 2
    assert len(epochs[0]) == job.batch_size
    training.train(1)
    training.close()


def test_what_does_not_fit_is_refused(job: Job) -> None:
    if benchmark._free_memory(CPU) is None:
        pytest.skip("this system does not tell its free memory")
    large = replace(job, batch_size=100_000, is_small=False)
    with pytest.raises(InputError, match=r"of unet bf16 take about \d+ GiB; found \d+ free"):
        benchmark._check_memory(large, ["unet"])
    benchmark._check_memory(job, list(CANDIDATES))


@pytest.mark.nightly
def test_the_table(run_python: Run) -> None:
    names = ["unet", "published_bf16", "leaf_seg_no_cache"]
    result = run_python(*SCRIPT, "--warm_up", 1, "--candidates", *names)
    assert "128 px, batch 2, 0 workers; medians of 2 rounds of 1 steps" in result.stdout
    rows = [re.split(r"  +", line) for line in result.stdout.splitlines() if re.match("published|leaf_seg|unet", line)]
    assert [row[0] for row in rows] == [CANDIDATES[name].title for name in names]
    assert float(rows[1][2]) == 1  # times itself
    assert all(float(cell) > 0 for row in rows for cell in (row[1], row[2], row[4]))
    assert rows[1][-1] == rows[2][-1] != rows[0][-1]


@pytest.mark.nightly
def test_errors_of_the_processes(run_python: Run, job: Job) -> None:
    result = run_python(*SCRIPT, "--candidates", "leaf_seg", "--set", "ema_decay", check=False)
    assert result.returncode == 2
    assert result.stdout.startswith("benchmark: --set got 'ema_decay'; expected KEY=VALUE")

    process = MeasuredProcess("unet", job)
    try:
        process.wait_until_built()
        os.kill(process._process.pid or 0, signal.SIGKILL)
        with pytest.raises(InputError, match="unet bf16 ended with exit code -9"):
            process.train(1)
    finally:
        process.end()


def test_a_device_that_is_not_there(run_python: Run) -> None:
    result = run_python(*SCRIPT, "--device", "quantum", check=False)
    assert result.returncode == 2
    assert "'quantum' is no device" in result.stdout
