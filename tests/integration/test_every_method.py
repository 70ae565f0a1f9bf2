"""Every method and baseline through the same commands: what one can, all can."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri
from PIL import Image

import leaf_seg
from leaf_seg.data import make_phantoms
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network
from tests.integration.methods_tried import METHODS, ON_DISK, Method, config_files, words

Run = Callable[..., subprocess.CompletedProcess[str]]
EVALUATE = [*config_files("train", "evaluate"), "--save_overlays", "false"]
ONCE = {"max_epochs": "1", "val_interval": "1", "batch_size": "4", "num_workers": "0", "precision": "fp32"}
SMALL = {**ONCE, "image_size": "32", "num_overlays": "0"}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def test_every_overlay_is_tried() -> None:
    missing = ON_DISK - {overlay for method in METHODS.values() for overlay in method.overlays}
    assert not missing, f"say in methods_tried.py how {', '.join(sorted(missing))} is tested"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes; four cases to train on and one for each of validation and test."""
    return make_phantoms(tmp_path_factory.mktemp("phantoms"), num_cases=6, num_classes=3, size=(40, 32), channels=3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("teacher")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    return {"teacher": str(folder)}


@pytest.fixture(scope="module")
def autoencoders(bundle_run: Run, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """MedSegLatDiff's two, for three classes."""
    return train_autoencoders(bundle_run, phantoms, 3, tmp_path_factory.mktemp("autoencoders"))


def train_autoencoders(bundle_run: Run, data: Path, num_classes: int, folder: Path, **settings: str) -> dict[str, str]:
    small = {"num_slices": "1", "image_size": "32", **ONCE, "autoencoder_def#config#block_out_channels": "[16,16,16]"}
    given = ["--dataset_dir", data, "--num_classes", num_classes, *words(small | settings)]
    for name, more in (("vq", ["--num_phantoms", "4"]), ("mask", [])):
        config = config_files("train_autoencoder", f"profiles/{name}_autoencoder")
        bundle_run("training", *config, *given, *more, "--output_dir", folder / name)
    return {"autoencoder_dir": str(folder / "vq"), "mask_autoencoder_dir": str(folder / "mask")}


def training(method: Method, request: pytest.FixtureRequest, data: Path, num_classes: int, folder: Path) -> list[Any]:
    """The training command of a method in its smallest form."""
    needed = {key: value for name in method.needs for key, value in request.getfixturevalue(name).items()}
    given = ["--dataset_dir", data, "--num_classes", num_classes, "--output_dir", folder]
    return [*config_files("train", *method.overlays), *given, *words({**SMALL, **method.smallest, **needed})]


def steps_of(folder: Path) -> list[int]:
    with (folder / "losses.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


@every_method
def test_train_resume_evaluate_and_segment(
    method: Method,
    request: pytest.FixtureRequest,
    bundle_run: Run,
    phantoms: Path,
    empty_store: Path,
    tmp_path: Path,
) -> None:
    """What evaluation, inference and ``leaf_seg.load`` make of the model is the same, without an overlay."""
    folder, report, output = tmp_path / "model", tmp_path / "report", tmp_path / "output"
    store = shutil.copy(empty_store, tmp_path / "mlruns.db")
    track = ["--tracking", "mlflow", "--tracking_uri", path_to_sqlite_uri(store)]
    command = training(method, request, phantoms, 3, folder)
    bundle_run("training", *command, *track)
    assert steps_of(folder) == [1]
    bundle_run("training", *command, *track, "--max_epochs", 2, "--resume", "true")
    assert steps_of(folder) == [1, 2]

    seeds = 2 if method.draws_noise else 1
    data = ["--dataset_dir", phantoms, "--model_dir", folder]
    bundle_run("evaluating", *EVALUATE, *data, *track, "--report_dir", report, "--num_noise_seeds", seeds)
    summary = json.loads((report / "metrics_summary.json").read_text())
    network = load_network(folder)
    assert list(summary["classes"]) == ["class_1", "class_2"]
    assert ("noise_stability" in summary) == method.draws_noise
    assert summary["cost"]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert summary["cost"]["seconds_per_case"] > 0

    image = phantoms / "images" / "phantom_0002.png"  # of the test split
    config = ["--config_file", "bundles/leaf_seg/configs/inference.json"]
    bundle_run("inference", *config, "--dataset_dir", image, "--model_dir", folder, "--output_dir", output)
    segmenter = leaf_seg.load(folder, device="cpu")
    expected = segmenter(image).label
    assert expected.shape == (40, 32)
    for written in (report, output):
        np.testing.assert_array_equal(np.asarray(Image.open(written / image.name)), expected)
    if not method.draws_noise:
        with pytest.raises(InputError, match="draws no noise: it has one answer to an image, and no 3 hypotheses"):
            segmenter(image, num_samples=3)
    else:
        assert np.isfinite(segmenter(image, num_samples=3).probabilities).all()
    _check_run(path_to_sqlite_uri(store), folder)


def _check_run(uri: str, folder: Path) -> None:
    """One run in MLflow has the settings, the metrics of training and evaluation, and the model."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["image_size"] == "[32, 32]"
    assert {"val_foreground_dice", "testing_dice_mean_foreground", "testing_hd95_worst_class_2"} <= set(run.data.metrics)
    models = [Path(model.artifact_location) for model in client.search_logged_models([experiment.experiment_id])]
    kept = [model / "data" / "model" / "model.pt" for model in models]
    assert (folder / "model.pt").read_bytes() in [file.read_bytes() for file in kept]
