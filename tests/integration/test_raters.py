"""Training and evaluation on a data set that several raters have labelled."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leaf_seg.metrics import ambiguity
from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import load_network, load_settings, save_model
from leaf_seg.weights.model_folder import training_record

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--num_classes", 3, "--num_overlays", 0, "--config_file"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']", "--save_overlays", "false"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def rated(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures with three raters, who put the structures 0, 2 and 4 pixels lower."""
    folder = tmp_path_factory.mktemp("rated")
    shutil.copytree(pictures, folder, dirs_exist_ok=True)
    for number in range(3):
        (folder / f"labels_r{number + 1}").mkdir()
        for file in sorted((folder / "labels").iterdir()):
            shifted = np.roll(np.array(Image.open(file)), 2 * number, axis=0)
            Image.fromarray(shifted).save(folder / f"labels_r{number + 1}" / file.name)
    return folder


def label_maps(files: list[Path]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.array(Image.open(file)) for file in files]))


@pytest.mark.slow
def test_hypotheses_are_compared_with_all_raters(
    bundle_run: Run, rated: Path, picture_model: Path, tmp_path: Path
) -> None:
    """The two hypotheses are what models of their noise seeds say alone."""
    network, second = load_network(picture_model), tmp_path / "seed_1"
    assert isinstance(network, LatentSegmenter)
    network.noise_seed, network.noise = 1, network.initial_noise(1)
    save_model(network, load_settings(picture_model), second)

    def evaluate(model: Path, *arguments: object) -> Path:
        report = tmp_path / f"report_{model.name}_{len(arguments)}"
        given = ["--dataset_dir", rated, "--model_dir", model, "--report_dir", report]
        bundle_run("evaluating", *EVALUATE, *given, *arguments)
        return report

    both, alone = evaluate(picture_model, "--num_samples", 2), [evaluate(model) for model in (picture_model, second)]
    for report, hypotheses, sources in ((both, 2, alone), (alone[1], 1, alone[1:])):
        found = json.loads((report / "metrics_summary.json").read_text())["raters"]
        assert (found["hypotheses"], found["raters"], found["matched"]) == ([hypotheses], [3], [3 * hypotheses])
        with (report / "metrics_raters.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2 * found["n"] > 0
        for row in rows:
            index = int(row["class"].removeprefix("class_"))
            files = [source / f"{row['case']}.png" for source in sources]
            raters = sorted(rated.glob(f"labels_r*/{row['case']}.png"))
            expected = ambiguity(label_maps(files) == index, label_maps(raters) == index)
            assert float(row["ged"]) == pytest.approx(expected.ged, rel=1e-4, abs=1e-6)
            assert float(row["hm_iou"]) == pytest.approx(expected.hm_iou, rel=1e-4, abs=1e-6)


def test_a_rater_of_another_size_is_named(bundle_run: Run, rated: Path, picture_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(rated, tmp_path / "data")
    for file in (folder / "labels_r2").iterdir():
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(file)
    given = ["--dataset_dir", folder, "--model_dir", picture_model, "--report_dir", tmp_path / "report"]
    result = bundle_run("evaluating", *EVALUATE, *given, check=False)
    assert result.returncode != 0
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith("leaf_seg: Image ")
    assert "labels_r2" in last
    assert "expected the same size" in last


@pytest.mark.slow
def test_training_draws_a_rater_and_goes_on_as_if_it_had_not_stopped(
    bundle_run: Run, rated: Path, small: list[str], tmp_path: Path
) -> None:
    def train(name: str, *arguments: object) -> dict[str, torch.Tensor]:
        length = ["--dataset_dir", rated, "--output_dir", tmp_path / name, "--schedule_epochs", 2, "--warmup_steps", 1]
        words = [*TRAIN, f"{CONFIGS}/train.json", *small, *length]
        bundle_run("training", *words, "--max_epochs", 2, "--val_interval", 2, *arguments)
        checkpoint = torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=False)
        found: dict[str, torch.Tensor] = checkpoint["parts"]["network"]
        return found

    whole = train("whole", "--rater_target", "drawn")
    train("parts", "--rater_target", "drawn", "--max_epochs", 1)
    given = ["--dataset_dir", rated, "--output_dir", tmp_path / "parts", "--rater_target", "mean", "--resume", "true"]
    result = bundle_run("training", *TRAIN, f"{CONFIGS}/train.json", *small, *given, check=False)
    assert "rater_target was 'drawn' and is 'mean'" in result.stderr.splitlines()[-1]
    parts = train("parts", "--rater_target", "drawn", "--resume", "true")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    label = train("label")
    assert not all(torch.equal(whole[key], label[key]) for key in whole)
    assert training_record(tmp_path / "whole")["rater_target"] == "drawn"
    assert training_record(tmp_path / "label")["rater_target"] is None


@pytest.mark.slow
@pytest.mark.parametrize("overlay", [[], ["baselines/unet"], ["baselines/probabilistic_unet"]])
def test_training_on_the_mean_of_raters(
    bundle_run: Run, rated: Path, small: list[str], small_run: list[str], overlay: list[str], tmp_path: Path
) -> None:
    files = [f"{CONFIGS}/{name}.json" for name in ["train", *overlay]]
    given = ["--dataset_dir", rated, "--output_dir", tmp_path / "model", "--rater_target", "mean"]
    bundle_run("training", *TRAIN, str(files), *(small_run if overlay else small), *given)
    assert training_record(tmp_path / "model")["rater_target"] == "mean"


def test_training_on_raters_that_are_not_there(
    bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path
) -> None:
    given = ["--dataset_dir", pictures, "--output_dir", tmp_path / "model", "--rater_target", "drawn"]
    result = bundle_run("training", *TRAIN, f"{CONFIGS}/train.json", *small, *given, check=False)
    assert result.returncode != 0
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith("leaf_seg: rater_target is drawn, and none of the ")
    assert not (tmp_path / "model").exists()
