"""The same labels, coded otherwise, train the same model and are evaluated alike."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
COLOURS = {"background": [10, 20, 30], "class_1": [255, 0, 0], "class_2": [0, 0, 255]}
Run = Callable[..., subprocess.CompletedProcess[str]]


def coloured(label: np.ndarray, file: Path) -> Path:
    Image.fromarray(np.array(list(COLOURS.values()), np.uint8)[label]).save(file)
    return file


def masks(label: np.ndarray, file: Path) -> list[Path]:
    files = [file.with_name(f"{file.stem}_{number}.png") for number in (1, 2)]
    for number, one in enumerate(files, start=1):
        Image.fromarray(np.uint8(255) * np.equal(label, number).astype(np.uint8)).save(one)
    return files


def recoded(pictures: Path, folder: Path, key: str, write: Callable[[np.ndarray, Path], Any]) -> Path:
    """A datalist of the pictures, of which the model of the fixture was trained, with labels of another coding."""
    folder.mkdir()
    entries = {}
    for split, names in json.loads((pictures / "split.json").read_text()).items():
        labels = {name: np.array(Image.open(pictures / "labels" / name)) for name in names}
        entries[split] = [
            {
                "image": str(pictures / "images" / name),
                key: json.loads(json.dumps(write(label, folder / name), default=str)),
            }
            for name, label in labels.items()
        ]
    (folder / "list.json").write_text(json.dumps(entries))
    return folder / "list.json"


def same_model(one: Path, other: Path) -> bool:
    first, second = (torch.load(folder / "model.pt", weights_only=True) for folder in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def dice(report: Path) -> list[str]:
    return [row["dice"] for row in csv.DictReader((report / "metrics_cases.csv").open())]


@pytest.mark.nightly
def test_colours(
    bundle_run: Run,
    pictures: Path,
    picture_model: Path,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Classes come from the colours; what the model's folder says of them can be changed for an evaluation."""
    monkeypatch.setenv("HOME", str(tmp_path))
    recoded(pictures, tmp_path / "data", "label", coloured)
    given = ["--dataset_dir", "~/data/list.json", "--label_colors", json.dumps(COLOURS), "--image_size", "32"]
    bundle_run("training", *TRAIN, *small, *given, "--output_dir=~/model")
    assert same_model(picture_model, tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())["settings"]
    assert settings["label_colors"] == list(COLOURS.values())
    assert settings["class_names"] == list(COLOURS)
    bundle_run("evaluating", *EVALUATE, *given[:2], "--model_dir", "~/model")
    own = ["--dataset_dir", pictures, "--model_dir", "~/model", "--report_dir", tmp_path / "own"]
    bundle_run("evaluating", *EVALUATE, *own, "--label_encoding", "index")
    assert dice(tmp_path / "model" / "evaluation" / "testing") == dice(tmp_path / "own")
    image = pictures / "images" / "phantom_0000.png"
    wanted = ["--dataset_dir", image, "--output_dir", tmp_path / "out", "--save_colors", "true"]
    bundle_run("inference", *INFER, *wanted, "--model_dir", "~/model")
    with Image.open(tmp_path / "out" / "colors" / "phantom_0000.png") as picture:
        shown = {tuple(colour) for colour in np.array(picture.convert("RGB")).reshape(-1, 3).tolist()}
    assert shown <= set(map(tuple, COLOURS.values()))


@pytest.mark.slow
def test_a_file_for_each_class(
    bundle_run: Run, pictures: Path, picture_model: Path, small: list[str], tmp_path: Path
) -> None:
    data = recoded(pictures, tmp_path / "data", "label_files", masks)
    given = ["--dataset_dir", data, "--output_dir", tmp_path / "model", "--num_classes", "3"]
    bundle_run("training", *TRAIN, *small, *given, "--label_encoding", "one_hot")
    assert same_model(picture_model, tmp_path / "model")
    bundle_run("evaluating", *EVALUATE, "--dataset_dir", data, "--model_dir", tmp_path / "model")
    assert dice(tmp_path / "model" / "evaluation" / "testing")


def test_empty_labels_are_refused(
    bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a quoted ~, and one number as image size, lead to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    recoded(pictures, tmp_path / "data", "label", lambda label, file: coloured(label * 0, file))
    given = ["--dataset_dir", "~/data/list.json", "--label_colors", json.dumps(COLOURS), "--image_size", "32"]
    result = bundle_run("training", *TRAIN, *small, *given, "--output_dir=~/model", check=False)
    assert result.returncode != 0
    assert "training labels has any structure, all hold 0 alone" in result.stderr.splitlines()[-1]
    assert (tmp_path / "model").is_dir()


def test_a_store_in_a_folder_of_files(bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path) -> None:
    given = ["--dataset_dir", pictures, "--output_dir", tmp_path / "m", "--num_classes", 3]
    tracked = ["--tracking", "mlflow", "--tracking_uri", f"file://{tmp_path}/store"]
    result = bundle_run("training", *TRAIN, *small, *given, *tracked, check=False)
    assert result.stderr.splitlines()[-1].startswith("leaf_seg: MLflow cannot be used (it keeps no store in a folder")
    assert "training slices" not in result.stderr + result.stdout  # before anything was prepared


def test_paths_of_the_command(run_python: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run_python("-m", "leaf_seg", "segment", "~/none", "out", check=False)
    assert str(tmp_path / "none") in result.stderr
    result = run_python("-m", "leaf_seg", "segment", "$HOME/none", "out", check=False)
    assert "whose $HOME the shell has not replaced" in result.stderr
