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
from torch.distributed import TCPStore
from torch.multiprocessing import start_processes
from transformers import Dinov2Config, Dinov2Model

from leaf_seg.runtime.config_keys import unused_keys
from leaf_seg.runtime.references import references
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
        (["inference", "multi_gpu_inference"], "inference"),
        (["inference", "inference_gpu", "multi_gpu_inference"], "inference"),
        (["inference", "multi_gpu_inference", "inference_gpu"], "inference"),
        (["inference", "inference_trt", "multi_gpu_inference"], "inference"),
    ],
)
def test_every_reference_of_the_overlays_is_found(names: list[str], run_id: str) -> None:
    """And the overlays leave no key without use that there was a use for."""
    config = ConfigParser.load_config_files([str(CONFIGS / f"{name}.json") for name in names])
    alone = ConfigParser.load_config_files([str(CONFIGS / f"{n}.json") for n in names if "multi" not in n])
    assert unused_keys(config, run_id) == unused_keys(alone, run_id)
    assert "open_processes" in json.dumps(config["initialize"])
    assert "CaseShard" in json.dumps((config if run_id == "inference" else config["validate"])["dataloader"])
    missing = {path[0] for path in references(config)} - {*config}
    assert not missing


@pytest.mark.parametrize("name", ["train", pytest.param("inference", marks=pytest.mark.slow)])
def test_torchrun_without_the_overlay(
    bundle_run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's
    set_environment(0, store.port, monkeypatch.setenv)
    run_id = "inference" if name == "inference" else "training"
    output = tmp_path / "output"
    result = bundle_run(
        *(run_id, "--config_file", files(name), "--dataset_dir", pictures, "--output_dir", output), check=False
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("leaf_seg:")]
    assert "torchrun has started 2 processes" in line
    assert f"configs/multi_gpu_{name}.json" in line
    assert not output.exists()


def test_overlay_without_torchrun(bundle_run: Run, pictures: Path, tmp_path: Path) -> None:
    config, output = files("train", "multi_gpu_train"), tmp_path / "output"
    words = ["training", "--config_file", config, "--dataset_dir", pictures, "--output_dir", output]
    result = bundle_run(*words, check=False)
    assert result.returncode == 1
    assert "torchrun --standalone --nproc_per_node=2 -m monai.bundle run training" in result.stderr
    assert f'--config_file "{config}" --dataset_dir {pictures} ' in result.stderr, "can be pasted"
    assert "Traceback" not in result.stderr
    assert not output.exists()


def test_a_limit_of_time_is_refused_at_the_door(
    bundle_run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the processes wait for each other, and before anything is prepared."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's
    set_environment(0, store.port, monkeypatch.setenv)
    output = tmp_path / "output"
    words = ["--config_file", files("train", "multi_gpu_train"), "--dataset_dir", pictures, "--output_dir", output]
    result = bundle_run("training", *words, "--max_minutes", 5, check=False)
    assert result.returncode == 1
    assert "max_minutes is 5, and 2 processes are to train" in result.stderr
    assert not output.exists()


# As the command line gives them; enough slices for two whole batches an epoch.
SETTINGS: dict[str, Any] = {
    "num_classes": 3,
    "image_size": [32, 32],
    "unet_config#block_out_channels": [32, 32, 32],
    "max_epochs": 2,
    "val_interval": 2,
    "num_overlays": 0,
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
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # of this process, which ends
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


def run(number: int, dataset: Path, output: Path, **settings: Any) -> dict[str, Any]:
    """Train in one process or in two on the same batches; the last checkpoint."""
    names = ["train", "multi_gpu_train"][:number]
    settings = SETTINGS | {"dataset_dir": str(dataset), "output_dir": str(output), "batch_size": 4 // number} | settings
    start_processes(train, (names, free_port(), settings), nprocs=number, start_method="fork")
    checkpoint: dict[str, Any] = torch.load(output / "checkpoints" / "last.pt", weights_only=False)
    return checkpoint


def check_alike(one: dict[str, Any], two: dict[str, Any], steps: int) -> None:
    assert one["iteration"] == two["iteration"] == steps
    for part in ("network", "ema", "optimizer"):
        torch.testing.assert_close(two["parts"][part], one["parts"][part], rtol=1e-6, atol=1e-6)
    assert torch.equal(one["random"]["torch"], two["random"]["torch"])
    assert any(value.dtype == torch.float64 for value in one["parts"]["network"].values())


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_train_as_one(pictures: Path, tmp_path: Path) -> None:
    """The same batches, noise, timesteps and augmentation, and so the same parameters, average and optimizer."""
    one, two = (run(number, pictures, tmp_path / str(number)) for number in (1, 2))
    check_alike(one, two, steps=4)


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    """Folder of a tiny teacher."""
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    Dinov2Model(Dinov2Config(**size)).save_pretrained(tmp_path / "teacher")
    return str(tmp_path / "teacher")


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_accumulate_and_align_as_one(pictures: Path, teacher: str, tmp_path: Path) -> None:
    """Three steps of two batches each; the projector is in step, too."""
    settings: dict[str, Any] = {"accumulation_steps": 2, "max_epochs": 3, "val_interval": 3}
    settings |= {"alignment_weight": 0.75, "teacher": teacher, "train#handlers#1#hidden_dim": 32}
    one, two = (run(number, pictures, tmp_path / str(number), **settings) for number in (1, 2))
    check_alike(one, two, steps=6)
    name = "FeatureDistillation"
    torch.testing.assert_close(two["parts"][name], one["parts"][name], rtol=1e-6, atol=1e-6)
    steps = [int(state["step"]) for state in two["parts"]["optimizer"]["state"].values()]
    assert set(steps) == {3}


@pytest.mark.slow
@pytest.mark.dist
def test_each_goes_on_with_the_checkpoint_of_the_other(pictures: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        run(number, pictures, tmp_path / str(number), max_epochs=1)
    two, one = (run(3 - number, pictures, tmp_path / str(number), max_epochs=2, resume=True) for number in (1, 2))
    check_alike(one, two, steps=4)


def torchrun(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of the bundle in two processes, as a user gives it; the package comes with the bundle."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    command = [*program, "-m", "monai.bundle", "run", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


@pytest.fixture(scope="module")
def trained(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str], Path]:
    """Trained in the Model Zoo's form: merged, exported into the bundle, and run two folders above it."""
    folder = tmp_path_factory.mktemp("zoo")
    shutil.copytree(CONFIGS.parent, folder / "models" / "leaf_seg")
    configs, output = "models/leaf_seg/configs", folder / "model"
    words: dict[str, Any] = {
        "num_classes": 3,
        "image_size": [32, 32],
        "batch_size": 2,
        "max_epochs": 1,
        "num_workers": 0,
    }
    words |= {"val_interval": 1, "unet_config#block_out_channels": [32, 32, 32]}
    words |= {"bundle_root": "models/leaf_seg", "dataset_dir": str(pictures), "output_dir": str(output)}
    config = [str(folder / configs / name) for name in ("train.json", "multi_gpu_train.json")]
    workflow = ConfigWorkflow(config, logging_file=False, workflow_type="train", **words)
    ConfigParser.export_config_file(workflow.parser.get(), str(folder / configs / "train_override.json"), indent=2)
    files_of_run = ["--logging_file", f"{configs}/logging.conf", "--meta_file", f"{configs}/metadata.json"]
    result = torchrun(folder, "--config_file", f"{configs}/train_override.json", *files_of_run)
    return folder, result, output


@pytest.mark.slow
@pytest.mark.dist
def test_one_set_of_files_is_written_and_lines_are_logged_once(
    trained: tuple[Path, subprocess.CompletedProcess[str], Path],
) -> None:
    _, result, output = trained
    expected = {"config.json", "model.pt", "manifest.json", "losses.csv", "metrics.csv", "curves.png", "train.log"}
    assert expected <= {path.name for path in output.iterdir()}
    assert len((output / "losses.csv").read_text().splitlines()) == 1 + 2
    assert not list(output.glob("slices_*"))
    for line in ("training slices of", "Saved the model to", "Key metric: val_foreground_dice best value"):
        assert result.stdout.count(line) + result.stderr.count(line) == 1, line
    assert (output / "train.log").read_text().count("training slices of") == 1


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_evaluate_as_one(
    trained: tuple[Path, subprocess.CompletedProcess[str], Path], bundle_run: Run, pictures: Path
) -> None:
    """Every case once, and every file the same."""
    _, _, output = trained
    reports = [output.parent / name for name in ("one", "two")]
    words = ["--dataset_dir", pictures, "--model_dir", output, "--num_noise_seeds", 2, "--bundle_root"]
    bundle = str(CONFIGS.parent)
    evaluation = files("train", "evaluate")
    bundle_run("evaluating", "--config_file", evaluation, *words[:-1], "--report_dir", reports[0])
    overlaid = files("train", "evaluate", "multi_gpu_evaluate")
    torchrun(ROOT, "evaluating", "--config_file", overlaid, *words, bundle, "--report_dir", reports[1])
    one, two = ({path.relative_to(report) for path in report.rglob("*") if path.is_file()} for report in reports)
    assert one == two
    assert len([path for path in one if path.name.startswith("phantom")]) == 2 * 2, "label map and overlay"
    summaries = [json.loads((report / "metrics_summary.json").read_text()) for report in reports]
    assert all(summary.pop("cost")["seconds_per_case"] > 0 for summary in summaries)
    assert summaries[0] == summaries[1]
    for path in one - {Path("manifest.json"), Path("executed_config.json"), Path("metrics_summary.json")}:
        assert (reports[0] / path).read_bytes() == (reports[1] / path).read_bytes(), path
