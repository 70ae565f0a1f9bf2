"""The overlays for several processes: two of them do what one does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch.multiprocessing import start_processes

from leaf_seg.runtime.config_keys import unused_keys
from tests.two_processes import free_port, set_environment

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundles" / "leaf_seg" / "configs"
Run = Callable[..., subprocess.CompletedProcess[str]]


def files(*names: str) -> str:
    return str([f"bundles/leaf_seg/configs/{name}.json" for name in names])


@pytest.mark.parametrize(
    ("names", "run_id"),
    [
        (["train", "multi_gpu_train"], "training"),
        (["train", "evaluate", "multi_gpu_evaluate"], "evaluating"),
        (["train", "multi_gpu_train", "evaluate", "multi_gpu_evaluate"], "evaluating"),
    ],
)
def test_every_reference_of_the_overlays_is_found(names: list[str], run_id: str) -> None:
    """And the overlays leave no key without use that there was a use for."""
    config = ConfigParser.load_config_files([str(CONFIGS / f"{name}.json") for name in names])
    alone = ConfigParser.load_config_files([str(CONFIGS / f"{n}.json") for n in names if "multi" not in n])
    assert unused_keys(config, run_id) == unused_keys(alone, run_id)
    assert "open_processes" in json.dumps(config["initialize"])
    assert "CaseShard" in json.dumps(config["validate"]["dataloader"])


@pytest.mark.parametrize("name", ["train", "inference", "train_autoencoder"])
def test_torchrun_without_the_overlay(
    bundle_run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    run_id = "inference" if name == "inference" else "training"
    output = tmp_path / "output"
    result = bundle_run(
        *(run_id, "--config_file", files(name), "--dataset_dir", pictures, "--output_dir", output), check=False
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("leaf_seg:")]
    assert "torchrun has started 2 processes" in line
    assert "configs/multi_gpu_train.json" in line
    assert not output.exists()


def test_overlay_without_torchrun(bundle_run: Run, pictures: Path, tmp_path: Path) -> None:
    config, output = files("train", "multi_gpu_train"), tmp_path / "output"
    words = ["training", "--config_file", config, "--dataset_dir", pictures, "--output_dir", output]
    result = bundle_run(*words, check=False)
    assert result.returncode == 1
    command = f'torchrun --standalone --nproc_per_node=2 -m monai.bundle run training --bundle_root bundles/leaf_seg --config_file "{config}"'
    assert command in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not output.exists()


# As the command line gives them; enough slices for two whole batches an epoch.
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "image_size": [32, 32],
    "unet_config#block_out_channels": [32, 32, 32],
    "max_epochs": 2,
    "val_interval": 1,
    "empty_slice_rate": 1.0,
    "num_workers": 0,
    "precision": "fp32",
    "terminal_probability": 0.5,
    "warmup_steps": 0,
    # in double precision, in which rounding does not hide a difference
    "network": "$@network_def.double().to(@device)",
    "prepare_batch#mask_encoder": "$@mask_encoder.double().to(@device)",
    "validate#evaluator#to_kwargs": {"dtype": "$torch.float64"},
}


def train(rank: int, names: list[str], port: int, settings: dict[str, Any]) -> None:
    """Train as the bundle's command does; of several processes, in each."""
    if len(names) > 1:
        set_environment(rank, port)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign,assignment]  # of this process, which ends
    torch.set_default_dtype(torch.float64)
    workflow = ConfigWorkflow(
        [str(CONFIGS / f"{name}.json") for name in names],
        logging_file=False,
        workflow_type="train",
        bundle_root=str(CONFIGS.parent),
        run_id="training",
        **settings,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def load(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / "last.pt", weights_only=False)
    return checkpoint


@pytest.mark.dist
def test_two_processes_train_as_one(pictures: Path, tmp_path: Path) -> None:
    """The same batches, noise, timesteps and augmentation, and so the same parameters, average and optimizer."""
    for names, batch_size in ((["train"], 4), (["train", "multi_gpu_train"], 2)):
        output = tmp_path / str(len(names))
        settings = SETTINGS | {"dataset_dir": str(pictures), "output_dir": str(output), "batch_size": batch_size}
        start_processes(train, (names, free_port(), settings), nprocs=len(names), start_method="fork")
    one, two = load(tmp_path / "1"), load(tmp_path / "2")
    assert one["iteration"] == two["iteration"] == 4
    for part in ("network", "ema", "optimizer"):
        torch.testing.assert_close(two["parts"][part], one["parts"][part], rtol=1e-6, atol=1e-6)
    moved = [key for key, value in one["parts"]["network"].items() if value.dtype == torch.float64]
    assert moved, "in double precision"
    assert torch.equal(one["random"]["torch"], two["random"]["torch"]), "so each can go on from the other's"
