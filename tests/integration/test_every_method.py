"""Every method and baseline through the same commands: what one can, all can."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
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
# Four phantoms by heart: an epoch is one step, and the one validation comes last.
BY_HEART = {
    **{"image_size": "64", "batch_size": "4", "learning_rate": "0.001", "warmup_steps": "10", "ema_decay": "0.9"},
    **{"max_epochs": "150", "val_interval": "1000", "num_workers": "0", "precision": "fp32"},
    **{"flip_probability": "[0,0]", "train#augmentation#transforms": "[]", "num_overlays": "0"},
}


def _every_method(mark: Callable[[Method], pytest.MarkDecorator | None]) -> pytest.MarkDecorator:
    """Each method once, with the mark that it gets."""
    marked = [(name, method, mark(method)) for name, method in METHODS.items()]
    return pytest.mark.parametrize(
        "method", [pytest.param(method, marks=[found] if found else [], id=name) for name, method, found in marked]
    )


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
def autoencoders(small_autoencoders: dict[str, Path]) -> dict[str, str]:
    image, mask = small_autoencoders.values()
    return {"autoencoder_dir": str(image), "mask_autoencoder_dir": str(mask)}


def training(method: Method, request: pytest.FixtureRequest, data: Path, num_classes: int, folder: Path) -> list[Any]:
    """The training command of a method in its smallest form."""
    needed = {key: value for name in method.needs for key, value in request.getfixturevalue(name).items()}
    given = ["--dataset_dir", data, "--num_classes", num_classes, "--output_dir", folder]
    return [*config_files("train", *method.overlays), *given, *words({**SMALL, **method.smallest, **needed})]


def steps_of(folder: Path) -> list[int]:
    with (folder / "losses.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


@_every_method(lambda method: None)
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
    expected, probabilities = segmenter(image).label, segmenter(image).probabilities
    assert expected.shape == (40, 32)
    for written in (report, output):
        np.testing.assert_array_equal(np.asarray(Image.open(written / image.name)), expected)
    if not method.draws_noise:
        with pytest.raises(InputError, match="draws no noise: it has one answer to an image, and no 3 hypotheses"):
            segmenter(image, num_samples=3)
    else:
        several = segmenter(image, num_samples=3).probabilities
        assert np.isfinite(several).all()
        assert not np.array_equal(several, probabilities)
    _check_run(path_to_sqlite_uri(store), folder, SMALL | method.smallest)


def _check_run(uri: str, folder: Path, settings: dict[str, str]) -> None:
    """One run in MLflow has the settings, the metrics of training and evaluation, and the model."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("leaf_seg")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params.items() >= {key: settings[key] for key in ("image_size", "batch_size")}.items()
    assert {"val_foreground_dice", "testing_dice_mean_foreground", "testing_hd95_worst_class_2"} <= set(
        run.data.metrics
    )
    kept = (folder.parent / "mlruns" / "models").glob("*/artifacts/data/model/model.pt")
    assert (folder / "model.pt").read_bytes() in [file.read_bytes() for file in kept]


@_every_method(lambda method: pytest.mark.slow if method.typical else pytest.mark.nightly)
def test_volumes_with_one_structure(
    method: Method, request: pytest.FixtureRequest, bundle_run: Run, volumes: Path, tmp_path: Path
) -> None:
    """Trained on slices and their neighbours, evaluated as a volume; what answers in one step is traced alike."""
    if "autoencoders" in method.needs:
        pytest.skip("its autoencoder of label maps is of three classes; tests/networks has it with others")
    command = training(method, request, volumes, 2, tmp_path)
    bundle_run("training", *command, "--num_slices", 3, "--axis", "sagittal")
    bundle_run("evaluating", *EVALUATE, "--dataset_dir", volumes, "--model_dir", tmp_path)
    summary = json.loads((tmp_path / "evaluation" / "testing" / "metrics_summary.json").read_text())
    assert list(summary["classes"]) == ["class_1"]
    case = next(file for file in (tmp_path / "evaluation" / "testing").glob("*.nii.gz"))
    assert nib.load(case).shape == nib.load(volumes / "labels" / case.name).shape  # type: ignore[attr-defined]
    if method.one_step:
        network = load_network(tmp_path)
        script = torch.jit.script(network)
        image = torch.rand(2, 3, *network.image_size)
        with torch.no_grad():
            torch.testing.assert_close(script(image), network(image))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms, validated on copies of themselves."""
    folder = make_phantoms(tmp_path_factory.mktemp("four"), num_cases=5, num_classes=3, size=(80, 72))
    names = [f"phantom_{index:04d}.png" for index in (0, 1, 2, 4)]  # number 3 has small structures only
    for name, kind in itertools.product(names, ("images", "labels")):
        shutil.copyfile(folder / kind / name, folder / kind / f"again_{name}")
    split = {"training": names, "validation": [f"again_{name}" for name in names], "testing": ["phantom_0003.png"]}
    (folder / "split.json").write_text(json.dumps(split))
    return folder


@pytest.fixture(scope="module")
def learnt_autoencoders(bundle_run: Run, four: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """MedSegLatDiff's two, that of label maps with the four by heart."""
    folder = tmp_path_factory.mktemp("learnt")
    small = {"num_slices": "1", "image_size": "64", "num_workers": "0", "precision": "fp32", "val_interval": "1000"}
    small |= {"batch_size": "4", "warmup_steps": "10", "autoencoder_def#config#block_out_channels": "[16,16,32]"}
    given = ["--dataset_dir", four, "--num_classes", 3, *words(small)]
    for name, more in (("vq", ["--num_phantoms", 30, "--max_epochs", 2]), ("mask", ["--max_epochs", 150])):
        config = config_files("train_autoencoder", f"profiles/{name}_autoencoder")
        bundle_run("training", *config, *given, *more, "--output_dir", folder / name)
    return {"autoencoder_dir": str(folder / "vq"), "mask_autoencoder_dir": str(folder / "mask")}


@_every_method(lambda method: pytest.mark.slow if method.typical else pytest.mark.nightly)
def test_four_phantoms_are_learnt_by_heart(
    method: Method,
    request: pytest.FixtureRequest,
    bundle_run: Run,
    four: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """By the training command; of some methods it is an aim, and the Dice is recorded."""
    needs = [name.replace("autoencoders", "learnt_autoencoders") for name in method.needs]
    needed = {key: value for name in needs for key, value in request.getfixturevalue(name).items()}
    given = ["--dataset_dir", four, "--num_classes", 3, "--output_dir", tmp_path]
    settings = {**BY_HEART, **method.learning, **needed}
    bundle_run("training", *config_files("train", *method.overlays), *given, *words(settings))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        dice = [float(row["val_foreground_dice"]) for row in csv.DictReader(file)][-1]
    record_property("dice", dice)
    logging.getLogger(__name__).warning("%s: Dice %.3f", method.overlays, dice)
    assert dice >= (method.least_dice or 0)
