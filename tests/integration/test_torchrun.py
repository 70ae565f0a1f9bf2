"""Trainings that torchrun starts: killed in every way and resumed, and by two agents, as on two machines."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch.multiprocessing import start_processes

from tests.faults.kills import Killable, assert_same_training, kill, litter
from tests.two_processes import free_port, set_environment

pytestmark = [pytest.mark.slow, pytest.mark.dist]

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"
FILES = [str(CONFIGS / f"{name}.json") for name in ("train", "multi_gpu_train")]
AN_EPOCH = 4  # steps
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "image_size": [32, 32],
    "unet_config#block_out_channels": [32, 32, 32],
    "max_epochs": 5,
    "val_interval": 2,
    "batch_size": 1,
    "empty_slice_rate": 1.0,
    "num_workers": 0,
    "num_overlays": 0,
    "checkpoint_minutes": 0,
    "dropout": 0.1,
}


def train(rank: int, port: int, settings: dict[str, Any]) -> None:
    """One of two processes, without the time that torchrun's take to start."""
    set_environment(rank, port)
    options: dict[str, Any] = {"workflow_type": "train", "bundle_root": str(CONFIGS.parent), "run_id": "training"}
    workflow = ConfigWorkflow(FILES, logging_file=False, **options, **settings)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def run_two(**settings: Any) -> None:
    start_processes(train, (free_port(), SETTINGS | settings), nprocs=2, start_method="fork")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two processes in one go."""
    folder = tmp_path_factory.mktemp("whole")
    run_two(dataset_dir=str(pictures), output_dir=str(folder))
    return folder


def torchrun(folder: Path, pictures: Path, output: Path, agent: list[str], *words: object) -> Killable:
    settings = {"bundle_root": CONFIGS.parent, "dataset_dir": pictures, "output_dir": output} | SETTINGS
    given = [word for key, value in settings.items() for word in (f"--{key}", value)]
    command = ["-m", "torch.distributed.run", *agent, "-m", "monai.bundle", "run", "training", "--config_file", FILES]
    return Killable([*command, *given, *words], folder / "log.txt", folder / "temporary")


def processes_of(agent: int) -> list[int]:
    """Those that torchrun has started, by their ranks; each has a session of its own."""
    return sorted(map(int, Path(f"/proc/{agent}/task/{agent}/children").read_text().split()))


def kill_all(agent: subprocess.Popen[bytes], processes: list[int]) -> None:
    for process in (agent.pid, *processes):
        os.kill(process, signal.SIGKILL)


def kill_one(agent: subprocess.Popen[bytes], processes: list[int]) -> None:
    os.kill(processes[1], signal.SIGKILL)


def terminate(agent: subprocess.Popen[bytes], processes: list[int]) -> None:
    agent.send_signal(signal.SIGTERM)


Stop = Callable[[subprocess.Popen[bytes], list[int]], None]


def stop_after(command: Killable, checkpoints: int, last: Path, stop: Stop) -> None:
    """Start it, and stop it when it has saved so many; all of its processes have to end."""
    before = time.time_ns()
    seen: set[int] = set()
    agent = command.start()
    processes: list[int] = []
    deadline = time.monotonic() + 120
    try:
        while len(seen) < checkpoints:
            assert agent.poll() is None, command.log.read_text()[-4000:]
            assert time.monotonic() < deadline, command.log.read_text()[-4000:]
            with suppress(FileNotFoundError):  # also for a moment between two checkpoints
                saved = last.stat().st_mtime_ns
                seen |= {saved} if saved > before else set()
            time.sleep(0.0005)
        processes = processes_of(agent.pid)
        assert len(processes) == 2
        stop(agent, processes)
        agent.wait(timeout=40)
        assert agent.returncode != 0
        for process in processes:
            _wait_for_end(process)
    finally:
        kill(agent)
        for process in processes:
            kill_if_alive(process)


def _wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 10
    while is_alive(process):
        assert time.monotonic() < deadline, f"{process} goes on"
        time.sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_if_alive(process: int) -> None:
    if is_alive(process):
        os.kill(process, signal.SIGKILL)


def step_of(last: Path) -> int:
    return int(torch.load(last, weights_only=True)["iteration"])


@pytest.mark.nightly
def test_killed_and_resumed_as_in_one_go(whole: Path, pictures: Path, tmp_path: Path) -> None:
    """All killed, one killed and torchrun told to end, each time within an epoch; then it ends as one in one go."""
    output = tmp_path / "output"
    last = output / "checkpoints" / "last.pt"
    command = torchrun(tmp_path, pictures, output, ["--standalone", "--nproc_per_node=2"], "--resume", "true")
    stop_after(command, AN_EPOCH + 3, last, kill_all)
    assert step_of(last) % AN_EPOCH in (2, 3)

    stop_after(command, 4, last, kill_one)
    second = step_of(last)
    assert second % AN_EPOCH in (2, 3)
    assert not litter(output), "the other one has tidied up"

    stop_after(command, 4, last, terminate)
    assert step_of(last) >= second + 4
    assert not litter(output)
    said = [line for line in command.log.read_text().splitlines() if "leaf_seg: " in line]
    assert "Another of the processes has ended" in said[0] or "ended by SIGTERM" in said[0]  # torchrun may be first
    assert "ended by SIGTERM" in said[-1]

    run_two(dataset_dir=str(pictures), output_dir=str(output), resume=True)
    assert_same_training(whole, output, tracked=False)


def test_two_agents_train_as_one(whole: Path, pictures: Path, tmp_path: Path) -> None:
    """The recipe for two machines, here on one: the process of each prepares slices of its own, and one set is left."""
    agent = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}"]
    output = tmp_path / "output"
    commands = [torchrun(tmp_path / name, pictures, output, agent) for name in ("first", "second")]
    agents = [command.start() for command in commands]
    try:
        codes = [agent.wait(timeout=120) for agent in agents]
    finally:
        for process in agents:
            kill(process)
    assert codes == [0, 0], "".join(command.log.read_text()[-4000:] for command in commands)
    assert_same_training(whole, output, tracked=False)
    assert not litter(output)
    assert sum(command.log.read_text().count("Saved the model to") for command in commands) == 1
