"""``--tracking mlflow``: one run holds all of a model."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigWorkflow
from monai.utils import path_to_sqlite_uri
from transformers import Dinov2Config, Dinov2Model

import leaf_seg
from leaf_seg.tracking import mlflow_training
from leaf_seg.tracking.mlflow_store import fluent_functions_on
from leaf_seg.weights import CheckpointFolder

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
TRACK = ["--tracking", "mlflow"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _only_run(uri: str) -> Any:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def _artifacts(client: MlflowClient, run_id: str, path: str = "") -> set[str]:
    found = set()
    for item in client.list_artifacts(run_id, path):
        found |= _artifacts(client, run_id, item.path) if item.is_dir else {item.path}
    return found


@pytest.fixture(scope="session")
def tracked(
    bundle_process: Run, bundle_run: Run, small: list[str], pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Trained with a small teacher, evaluated and used, all tracked in the default store."""
    folder = tmp_path_factory.mktemp("tracked") / "my_model"
    teacher = tmp_path_factory.mktemp("teacher")
    Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    ).save_pretrained(teacher)
    data = ["--dataset_dir", pictures]
    alignment = ["--num_classes", 3, "--alignment_weight", 0.5, "--teacher", teacher, "--max_epochs", 2]
    bundle_process("training", *TRAIN, *small, *data, "--output_dir", folder, *alignment, *TRACK)
    bundle_run("evaluating", *EVALUATE, *data, "--model_dir", folder, *TRACK)
    image = sorted((pictures / "images").iterdir())[0]
    output = folder / "segmented"
    bundle_run("inference", *INFER, "--dataset_dir", image, "--model_dir", folder, "--output_dir", output, *TRACK)
    return folder


def test_run_folder(tracked: Path) -> None:
    names = {file.name for file in tracked.iterdir()}
    expected = {"config.json", "model.pt", "executed_config.json", "manifest.json", "losses.csv", "metrics.csv"}
    assert expected | {"curves.png", "train.log", "overlays", "checkpoints"} <= names
    assert sorted(file.name for file in (tracked / "checkpoints").iterdir()) == ["last.pt", "previous.pt"]
    overlays = [file.name for file in (tracked / "overlays").iterdir()]
    assert sorted(name.rpartition("_")[2] for name in overlays) == ["0001.png"] * 2 + ["0002.png"] * 2
    assert "Saved the model to" in (tracked / "train.log").read_text()


def test_executed_config_repeats_the_run(tracked: Path, bundle_run: Run, tmp_path: Path) -> None:
    config = ["--config_file", tracked / "executed_config.json"]
    bundle_run("training", *config, "--output_dir", tmp_path / "again")
    one, two = ((folder / "losses.csv").read_text() for folder in (tracked, tmp_path / "again"))
    losses = [[line.split(",")[3] for line in text.splitlines()] for text in (one, two)]
    assert losses[0] == losses[1]


def test_mlflow_has_every_step_that_a_checkpoint_has(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a training that is killed and resumed would lack the points between."""
    saved, logged = [], []
    uri = path_to_sqlite_uri(str(tmp_path / "mlruns.db"))

    def save(_: CheckpointFolder, state: dict[str, Any]) -> None:
        saved.append(state["iteration"])
        run = _only_run(uri)
        history = MlflowClient(uri).get_metric_history(run.info.run_id, "train_loss")
        logged.append(max((metric.step for metric in history), default=0))

    monkeypatch.setattr(CheckpointFolder, "save", save)
    monkeypatch.setattr(mlflow_training, "log_model", lambda *_: None)  # slow, after the last step; tested below
    monkeypatch.chdir("bundles/leaf_seg")
    overrides: dict[str, Any] = {
        "dataset_dir": str(pictures),
        "num_classes": 3,
        "output_dir": str(tmp_path),
        "image_size": [32, 32],
        "batch_size": 2,
        "max_epochs": 2,
        "val_interval": 1,
        "num_workers": 0,
        "precision": "fp32",
        "checkpoint_minutes": 0,
        "unet_config#block_out_channels": [32, 32, 32],
        "unet_config#layers_per_block": 1,
    }
    workflow = ConfigWorkflow(
        "configs/train.json", logging_file=False, workflow_type="train", tracking="mlflow", **overrides
    )
    workflow.initialize()
    workflow.run()
    assert len(saved) > 4
    assert logged == saved


def test_one_run_holds_training_evaluation_and_inference(tracked: Path, pictures: Path) -> None:
    uri = path_to_sqlite_uri(str(tracked / "mlruns.db"))
    run = _only_run(uri)
    assert run.info.run_name.startswith("my_model 20")
    assert run.info.status == "FINISHED"
    params = run.data.params
    assert params["image_size"] == "[32, 32]"
    assert params["alignment_weight"] == "0.5"
    assert params["unet_config/layers_per_block"] == "1"
    client = MlflowClient(uri)
    steps = {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}
    num_steps = len((tracked / "losses.csv").read_text().splitlines()) - 1
    for name in ("train_loss", "train_loss_prediction", "train_loss_alignment", "learning_rate"):
        assert steps[name] == num_steps
    for name in ("val_foreground_dice", "val_positive_dice", "val_num_predicted_empty", "val_dice_class_1"):
        assert steps[name] == 2
    summary = json.loads((tracked / "evaluation" / "testing" / "metrics_summary.json").read_text())
    dice = summary["mean_foreground"]["dice"]["mean"]
    assert run.data.metrics["testing_dice_mean_foreground"] == pytest.approx(dice)
    assert run.data.metrics["testing_predicted_empty"] == summary["predicted_empty"]["n"]
    rho = summary["ranking"]["spearman"]["rho"]
    assert run.data.metrics.get("testing_spearman_expected_dice") == (None if rho is None else pytest.approx(rho))
    assert "best_val_foreground_dice" in run.data.metrics
    artifacts = _artifacts(client, run.info.run_id)
    assert {
        "executed_config.json",
        "manifest.json",
        "losses.csv",
        "metrics.csv",
        "curves.png",
        "train.log",
    } <= artifacts
    assert {"testing/executed_config.json", "testing/metrics_cases.csv", "inference/manifest.json"} <= artifacts
    assert "testing/expected_dice.csv" in artifacts
    validation = json.loads((pictures / "split.json").read_text())["validation"][0].removesuffix(".png")
    images = [name for name in artifacts if name.startswith(f"images/{validation}") and name.endswith(".png")]
    assert len(images) == 2  # the same case at both validations
    assert json.loads((tracked / "manifest.json").read_text())["run"] == run.data.tags["leaf_seg.run"]


def test_the_logged_model_is_the_trained_one(tracked: Path) -> None:
    uri = path_to_sqlite_uri(str(tracked / "mlruns.db"))
    run = _only_run(uri)
    (logged,) = MlflowClient(uri).search_logged_models([run.info.experiment_id])
    with fluent_functions_on(uri):
        model = mlflow.pyfunc.load_model(logged.model_uri)
    signature = model.metadata.signature
    assert [tensor.shape for tensor in signature.inputs.inputs] == [(-1, 3, 32, 32)]
    assert [tensor.shape for tensor in signature.outputs.inputs] == [(-1, 3, 32, 32)]
    image = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)  # another batch size than the example's
    with torch.no_grad():
        expected = leaf_seg.load(tracked, device="cpu").network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(model.predict(image), expected, atol=1e-4)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        tmp_path / "artifacts",
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", 1, *words]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
        uri = f"http://127.0.0.1:{port}"
        try:
            _wait_for(uri, process)
            yield uri
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(uri: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{uri}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.5)
    pytest.fail("the MLflow server did not start")


@pytest.mark.slow
def test_a_running_server(server: str, bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    data = ["--dataset_dir", pictures]
    tracking = [*TRACK, "--tracking_uri", server, "--run_name", "first try"]
    bundle_run("training", *TRAIN, *small, *data, "--num_classes", 3, "--output_dir", folder, *tracking)
    bundle_run("evaluating", *EVALUATE, *data, "--model_dir", folder, *tracking)
    run = _only_run(server)
    assert run.info.run_name == "first try"
    assert run.info.status == "FINISHED"
    assert "testing_dice_mean_foreground" in run.data.metrics
    artifacts = _artifacts(MlflowClient(server), run.info.run_id)
    assert {"executed_config.json", "curves.png", "testing/metrics_summary.json"} <= artifacts
    assert not (folder / "mlruns.db").exists()


def test_a_failed_training_is_marked_so(bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path) -> None:
    arguments = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path, "--optimizer#lr", 1e30]
    result = bundle_run("training", *TRAIN, *small, *arguments, "--warmup_steps", 0, *TRACK, check=False)
    assert result.returncode
    assert "The loss is" in result.stderr
    assert _only_run(path_to_sqlite_uri(str(tmp_path / "mlruns.db"))).info.status == "FAILED"
