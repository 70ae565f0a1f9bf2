"""``--tracking mlflow``: one run holds all of a model."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from PIL import Image
from transformers import Dinov2Config, Dinov2Model

import leaf_seg
from leaf_seg.tracking import MlflowTraining
from leaf_seg.tracking.mlflow_store import fluent_functions_on
from leaf_seg.weights import CheckpointFolder
from leaf_seg.weights.mlflow_source import opened_model

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
TRACK = ["--tracking", "mlflow"]
REGISTER = ["--registered_model", "phantoms", "--registered_alias", "champion"]
Run = Callable[..., subprocess.CompletedProcess[str]]

# Segments images where nothing can be imported but what the model says that it needs, and what that needs.
FRESH = """
import importlib.metadata as installed, hashlib, json, sys
import mlflow
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

uri, *images = sys.argv[1:]
with open(mlflow.pyfunc.get_model_dependencies(uri)) as file:
    needed = [Requirement(line.strip()).name for line in file]
known = set()
while needed:
    name = canonicalize_name(needed.pop())
    if name not in known:
        known.add(name)
        found = [Requirement(text) for text in installed.requires(name) or ()]
        needed += [item.name for item in found if item.marker is None or item.marker.evaluate({"extra": ""})]

class OthersAreNotInstalled:
    finders = list(sys.meta_path)
    homes = {module: {*map(canonicalize_name, names)} for module, names in installed.packages_distributions().items()}

    def find_spec(self, name, path=None, target=None):
        if not self.homes.get(name, {"leaf-seg"}) & (known | {"leaf-seg"}):
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)

    def find_distributions(self, context=None):
        everything = installed.MetadataPathFinder.find_distributions(context)
        return (found for found in everything if canonicalize_name(found.metadata["Name"]) in known)

sys.meta_path[:] = [OthersAreNotInstalled()]
labels = mlflow.pyfunc.load_model(uri).predict(images)
import leaf_seg
found = [(label.shape, hashlib.sha256(label.tobytes()).hexdigest()) for label in labels]
print(json.dumps([leaf_seg.__file__, found]))
"""


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


def _kept_twice(folder: Path) -> list[list[str]]:
    """Files of the same bytes."""
    by_content: dict[str, list[str]] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        by_content.setdefault(digest, []).append(str(file.relative_to(folder)))
    assert by_content
    return [files for files in by_content.values() if len(files) > 1]


def _contexts(run: Any) -> list[str]:
    """In which parts of a run its data sets were used."""
    return sorted(tag.value for item in run.inputs.dataset_inputs for tag in item.tags)


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
    alignment = ["--num_classes", 3, "--alignment_weight", 0.5, "--teacher", teacher]
    options = [*alignment, "--max_epochs", 2, "--num_overlays", 4, *TRACK, *REGISTER, "--system_metrics", "true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
        bundle_process("training", *TRAIN, *small, *data, "--output_dir", folder, *options)
    bundle_run("evaluating", *EVALUATE, *data, "--model_dir", folder, *TRACK)
    image = sorted((pictures / "images").iterdir())[0]
    output = folder / "segmented"
    bundle_run("inference", *INFER, "--dataset_dir", image, "--model_dir", folder, "--output_dir", output, *TRACK)
    return folder


@pytest.mark.slow
def test_run_folder(tracked: Path) -> None:
    names = {file.name for file in tracked.iterdir()}
    expected = {"config.json", "model.pt", "executed_config.json", "manifest.json", "losses.csv", "metrics.csv"}
    assert expected | {"curves.png", "train.log", "overlays", "checkpoints"} <= names
    assert sorted(file.name for file in (tracked / "checkpoints").iterdir()) == ["last.pt", "previous.pt"]
    overlays = [file.name for file in (tracked / "overlays").iterdir()]
    assert sorted(name.rpartition("_")[2] for name in overlays) == ["0001.png"] * 2 + ["0002.png"] * 2
    assert "Saved the model to" in (tracked / "train.log").read_text()


@pytest.mark.slow
def test_executed_config_repeats_the_run(tracked: Path, bundle_run: Run, tmp_path: Path) -> None:
    config = ["--config_file", tracked / "executed_config.json"]
    bundle_run("training", *config, "--output_dir", tmp_path / "again")
    one, two = ((folder / "losses.csv").read_text() for folder in (tracked, tmp_path / "again"))
    losses = [[line.split(",")[3] for line in text.splitlines()] for text in (one, two)]
    assert losses[0] == losses[1]


@pytest.mark.slow
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
    monkeypatch.setattr(MlflowTraining, "_log_model", lambda *_: None)  # slow, after the last step; tested below
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


@pytest.mark.slow
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
    measured = client.get_metric_history(run.info.run_id, "system/system_memory_usage_percentage")
    assert [metric.step for metric in measured] == list(range(len(measured)))
    assert len(measured) > 1
    assert _contexts(run) == ["testing", "training", "validation"]
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {pictures.name}
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
    assert _kept_twice(tracked / "mlruns") == []


@pytest.mark.slow
def test_the_logged_model_is_the_trained_one(tracked: Path) -> None:
    uri = path_to_sqlite_uri(str(tracked / "mlruns.db"))
    run = _only_run(uri)
    (logged,) = MlflowClient(uri).search_logged_models([run.info.experiment_id])
    with fluent_functions_on(uri):
        model = mlflow.pyfunc.load_model(logged.model_uri)
    assert model.metadata.metadata == {"class_names": ["background", "class_1", "class_2"], "image_size": [32, 32]}
    image = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = leaf_seg.load(tracked, device="cpu").network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(model.predict(image), expected, atol=1e-4)
    assert model.predict([np.zeros((9, 7), np.uint8)], params={"num_samples": 2})[0].shape == (9, 7)


@pytest.mark.slow
def test_the_best_model_is_registered(tracked: Path) -> None:
    uri = path_to_sqlite_uri(str(tracked / "mlruns.db"))
    version = MlflowClient(uri).get_model_version_by_alias("phantoms", "champion")
    run = _only_run(uri)
    assert (version.version, version.run_id) == (1, run.info.run_id)
    weights = json.loads((tracked / "config.json").read_text())["weights"]["sha256"]
    assert version.tags["leaf_seg.weights"] == weights
    assert version.tags["leaf_seg.datalist_sha256"] == run.data.tags["leaf_seg.datalist_sha256"]
    assert float(version.tags["best_val_foreground_dice"]) == run.data.metrics["best_val_foreground_dice"]
    (model,) = MlflowClient(uri).search_logged_models([run.info.experiment_id])
    assert {metric.key for metric in model.metrics or ()} == {"best_val_foreground_dice", "best_epoch"}


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[str]:
    words = [
        "--backend-store-uri",
        f"sqlite:///{server_folder}/server.db",
        "--artifacts-destination",
        server_folder / "artifacts",
    ]
    port = _free_port()
    with _serving("-m", "mlflow", "server", "--port", port, "--workers", 1, *words):
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _serving(*command: object) -> Iterator[None]:
    """Run a command that starts MLflow's server."""
    words = [sys.executable, *map(str, command)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{words[words.index('--port') + 1]}", process)
        yield
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


@pytest.fixture(scope="module")
def served(server: str, server_folder: Path, bundle_run: Run, small: list[str], pictures: Path) -> Path:
    """A training whose run and model are on a server; it was given again when it had ended."""
    folder = server_folder / "model"
    data = ["--dataset_dir", pictures]
    tracking = [*TRACK, "--tracking_uri", server, "--run_name", "first try"]
    training = [*TRAIN, *small, *data, "--num_classes", 3, "--output_dir", folder, *tracking, *REGISTER]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
        for resume in ("false", "true"):
            bundle_run("training", *training, "--system_metrics", "true", "--resume", resume)
    bundle_run("evaluating", *EVALUATE, *data, "--model_dir", folder, *tracking)
    return folder


@pytest.mark.nightly
def test_a_running_server(server: str, server_folder: Path, served: Path) -> None:
    run = _only_run(server)
    assert run.info.run_name == "first try"
    assert run.info.status == "FINISHED"
    assert "testing_dice_mean_foreground" in run.data.metrics
    artifacts = _artifacts(MlflowClient(server), run.info.run_id)
    assert {"executed_config.json", "curves.png", "testing/metrics_summary.json"} <= artifacts
    assert not (served / "mlruns.db").exists()
    assert _contexts(run) == ["testing", "training", "validation"]
    assert "system/cpu_utilization_percentage" in run.data.metrics
    (version,) = MlflowClient(server).search_model_versions("name='phantoms'")
    assert version.run_id == run.info.run_id
    assert _kept_twice(server_folder / "artifacts") == []


@pytest.mark.nightly
def test_a_registered_model_segments_as_its_folder_does(
    server: str,
    served: Path,
    run_python: Run,
    bundle_run: Run,
    python_process: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    champion = "models:/phantoms@champion"
    images = tmp_path / "images"
    images.mkdir()
    for image in sorted((pictures / "images").iterdir())[:2]:
        shutil.copy(image, images)
    run_python("-m", "leaf_seg", "segment", images, tmp_path / "a", "--model", served)
    run_python("-m", "leaf_seg", "segment", images, tmp_path / "b", "--model", champion, "--tracking-uri", server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    output = ["--output_dir", tmp_path / "c"]
    bundle_run("inference", *INFER, "--dataset_dir", images, "--model_dir", champion, *output)
    code, found = json.loads(python_process("-c", FRESH, champion, *sorted(images.iterdir())).stdout.splitlines()[-1])
    assert code.endswith("/code/leaf_seg/__init__.py")
    for image, (shape, digest) in zip(sorted(images.iterdir()), found, strict=True):
        label = np.asarray(Image.open(tmp_path / "a" / image.name))
        assert (list(label.shape), hashlib.sha256(label.tobytes()).hexdigest()) == (shape, digest)
        for other in ("b", "c"):
            np.testing.assert_array_equal(Image.open(tmp_path / other / image.name), label)
    wrong = bundle_run("evaluating", *EVALUATE, "--dataset_dir", pictures, "--model_dir", champion, check=False)
    assert "the model is in MLflow. Name one with --report_dir" in wrong.stderr
    assert not Path("models:").exists()


@pytest.mark.nightly
def test_a_folder_that_was_moved_goes_on_in_its_run(
    tracked: Path, bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(tracked, tmp_path / "copied", ignore=shutil.ignore_patterns(".*")))
    folder = copied.rename(tmp_path / "another place")  # the first place is there, too: that of the copy is not
    before = {file: file.read_bytes() for file in tracked.rglob("*") if file.is_file()}
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", folder]
    options = ["--max_epochs", 3, "--alignment_weight", 0.5, "--resume", "true", *REGISTER]
    teacher = ["--teacher", json.loads((folder / "executed_config.json").read_text())["teacher"]]
    bundle_run("training", *TRAIN, *small, *data, *options, *teacher, *TRACK)
    assert before == {file: file.read_bytes() for file in tracked.rglob("*") if file.is_file()}
    moved = folder.rename(tmp_path / "the last place")
    port = _free_port()
    uri = f"http://127.0.0.1:{port}"
    with _serving("-m", "leaf_seg", "mlflow", moved, "--port", port):
        run, client = _only_run(uri), MlflowClient(uri)
        history = client.get_metric_history(run.info.run_id, "val_foreground_dice")
        assert len({metric.step for metric in history}) == 3
        curves = Path(client.download_artifacts(run.info.run_id, "curves.png", str(tmp_path)))
        assert curves.read_bytes() == (moved / "curves.png").read_bytes()
        with opened_model("models:/phantoms@champion", uri) as model:
            assert (model / "model.pt").read_bytes() == (moved / "model.pt").read_bytes()


@pytest.mark.slow
def test_a_failed_training_is_marked_so(bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path) -> None:
    arguments = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path, "--optimizer#lr", 1e30]
    result = bundle_run("training", *TRAIN, *small, *arguments, "--warmup_steps", 0, *TRACK, check=False)
    assert result.returncode
    assert "The loss is" in result.stderr
    assert _only_run(path_to_sqlite_uri(str(tmp_path / "mlruns.db"))).info.status == "FAILED"
