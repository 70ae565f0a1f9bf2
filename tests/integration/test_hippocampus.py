"""The recipe of the shipped model, by the commands that a user types, on small phantoms."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import leaf_seg
from leaf_seg.data import make_phantoms
from leaf_seg.networks import LatentDecoder, load_autoencoder

CONFIGS = "bundles/leaf_seg/configs"
RECIPE = f"'{CONFIGS}/train.json','{CONFIGS}/profiles/hippocampus.json'"
TRAIN = ["--config_file", f"[{RECIPE}]"]
EVALUATE = ["--config_file", f"[{RECIPE},'{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three_classes")
    return make_phantoms(folder, dimension=3, num_cases=3, num_classes=3, size=(16, 18, 16))


@pytest.fixture(scope="module")
def model(
    bundle_run: Run,
    small: list[str],
    small_run: list[str],
    volumes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What the recipe's two stages leave, one epoch each and a small network."""
    first, second = tmp_path_factory.mktemp("stage1"), tmp_path_factory.mktemp("model")
    train = ["training", *TRAIN, "--batch_size", 16, "--dataset_dir", volumes]
    bundle_run(*train, *small, "--output_dir", first, "--axis", "['coronal','axial','sagittal']")
    assert json.loads((first / "config.json").read_text())["settings"]["axis"] == ["coronal", "axial", "sagittal"]
    bundle_run(*train, *small_run, "--output_dir", second, "--init_dir", first)
    return second


@pytest.mark.slow
def test_model_knows_the_recipe(model: Path) -> None:
    settings = json.loads((model / "config.json").read_text())["settings"]
    assert settings["class_names"] == ["background", "anterior", "posterior"]
    assert settings["axis"] == "coronal"
    assert settings["num_slices"] == 3
    state = torch.load(model / "model.pt", weights_only=True)
    for part in ("image_encoder.", "unet.", "mask_decoder."):  # the decoder was trained, too
        assert {value.dtype for name, value in state.items() if name.startswith(part)} == {torch.float16}
    shipped = LatentDecoder(load_autoencoder("bundles/leaf_seg/models/autoencoder")).state_dict()
    assert not all(torch.equal(state[f"mask_decoder.{name}"], value.half()) for name, value in shipped.items())


@pytest.fixture(scope="module")
def decathlon(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same volumes and split as the Decathlon keeps them, with capitals in the names of the classes."""
    root = tmp_path_factory.mktemp("Task04_Hippocampus")
    (root / "imagesTr").symlink_to(volumes / "images")
    (root / "labelsTr").symlink_to(volumes / "labels")
    names = sorted(file.name for file in (volumes / "images").iterdir())
    entries = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries, "test": []}))
    (root / "split.json").write_bytes((volumes / "split.json").read_bytes())
    return root


@pytest.mark.nightly
def test_evaluation_of_a_decathlon_folder_with_other_directions(
    bundle_run: Run, decathlon: Path, model: Path, tmp_path: Path
) -> None:
    reports = {}
    for name, options in {"plain": [], "other": ["--axis", "axial", "--mirror_axes", "[0]"]}.items():
        folder = tmp_path / name
        arguments = ["--dataset_dir", decathlon, "--model_dir", model, "--report_dir", folder, "--batch_size", 16]
        bundle_run("evaluating", *EVALUATE, *arguments, *options)
        reports[name] = json.loads((folder / "metrics_summary.json").read_text())
        assert (folder / "reliability.png").is_file()
    rows = list(csv.DictReader((tmp_path / "plain" / "metrics_cases.csv").open()))
    assert {row["class"] for row in rows} == {"anterior", "posterior"}
    structures = {name: report["calibration"]["classes"] for name, report in reports.items()}
    assert list(structures["plain"]) == ["anterior", "posterior"]
    scores = {name: values["anterior"]["brier"]["mean"] for name, values in structures.items()}
    assert 0 <= scores["plain"] <= 1
    assert scores["plain"] != scores["other"]


@pytest.mark.nightly
def test_commands_and_python_agree(bundle_run: Run, volumes: Path, model: Path, tmp_path: Path) -> None:
    case = json.loads((volumes / "split.json").read_text())["testing"][0]
    image = volumes / "images" / case
    bundle_run("inference", *INFER, "--dataset_dir", image, "--model_dir", model, "--output_dir", tmp_path)
    written = nib.nifti1.load(tmp_path / case)
    source = nib.nifti1.load(image)
    np.testing.assert_allclose(written.affine, source.affine)
    expected = leaf_seg.load(model, device="cpu")(image)
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected.label)
