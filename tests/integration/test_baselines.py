"""The baselines' commands: another network through the same training, evaluation and inference."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import leaf_seg
from leaf_seg.runtime.errors import InputError

CONFIGS = "bundles/leaf_seg/configs"
TRAIN_UNET = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/baselines/unet.json']"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def unet_model(bundle_run: Run, small_run: list[str], pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training command leaves of a U-Net trained for one epoch."""
    folder = tmp_path_factory.mktemp("unet_model")
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", folder]
    bundle_run("training", *TRAIN_UNET, *data, *small_run, "--features", "[8,8,16,16,16,8]", "--tracking", "mlflow")
    return folder


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    line = result.stderr.rstrip().splitlines()[-1]
    assert line.startswith("leaf_seg: ")
    return line


@pytest.mark.slow
def test_training_leaves_a_unet_trained_on_the_same_split(unet_model: Path, picture_model: Path) -> None:
    config, of_leaf = (json.loads((folder / "config.json").read_text()) for folder in (unet_model, picture_model))
    assert config["network"] == {
        "_class_name": "BasicUNetSegmenter",
        "num_classes": 3,
        "image_size": [32, 32],
        "features": [8, 8, 16, 16, 16, 8],
        "dropout": 0.0,
    }
    assert config["settings"] == of_leaf["settings"]
    assert config["training"]["datalist_sha256"] == of_leaf["training"]["datalist_sha256"]
    state = torch.load(unet_model / "model.pt", weights_only=True)
    assert not {"image_encoder", "unet", "mask_decoder", "noise"} & {key.split(".")[0] for key in state}
    (logged,) = (unet_model / "mlruns" / "models").glob("*/artifacts/data/model/model.pt")  # in MLflow
    assert logged.read_bytes() == (unet_model / "model.pt").read_bytes()


@pytest.mark.slow
def test_evaluate_infer_and_load_need_no_overlay(
    bundle_run: Run, run_python: Run, pictures: Path, unet_model: Path, tmp_path: Path
) -> None:
    """Each is another way to the same label maps."""
    report, output = tmp_path / "report", tmp_path / "output"
    bundle_run("evaluating", *EVALUATE, "--dataset_dir", pictures, "--model_dir", unet_model, "--report_dir", report)
    names = [name.removesuffix(".png") for name in json.loads((pictures / "split.json").read_text())["testing"]]
    rows = list(csv.DictReader((report / "metrics_cases.csv").open()))
    assert [(row["case"], row["class"]) for row in rows] == [(n, c) for n in names for c in ("class_1", "class_2")]

    arguments = ["--dataset_dir", pictures / "images", "--model_dir", unet_model, "--output_dir", output]
    bundle_run("inference", *INFER, *arguments)
    first = pictures / "images" / f"{names[0]}.png"
    run_python("-m", "leaf_seg", "segment", first, tmp_path / "segmented", "--model", unet_model)

    segmenter = leaf_seg.load(unet_model, device="cpu")
    for name in names:
        expected = segmenter(pictures / "images" / f"{name}.png").label
        assert expected.shape == (40, 48)
        for folder in (report, output):
            np.testing.assert_array_equal(np.asarray(Image.open(folder / f"{name}.png")), expected)
    written = np.asarray(Image.open(tmp_path / "segmented" / f"{names[0]}.png"))
    np.testing.assert_array_equal(written, segmenter(first).label)


def test_several_hypotheses_are_an_error(
    bundle_run: Run, run_python: Run, pictures: Path, unet_model: Path, tmp_path: Path
) -> None:
    message = "This BasicUNetSegmenter draws no noise: it has one answer to an image, and no 3 hypotheses"
    picture = pictures / "images" / "phantom_0000.png"
    arguments = ["--dataset_dir", picture, "--model_dir", unet_model, "--output_dir", tmp_path / "out"]
    assert message in _last_line(bundle_run("inference", *INFER, *arguments, "--num_samples", 3, check=False))
    command = ["segment", picture, tmp_path / "out", "--model", unet_model, "--num-samples", 3]
    assert message in _last_line(run_python("-m", "leaf_seg", *command, check=False))
    assert not list((tmp_path / "out").glob("*.png"))
    with pytest.raises(InputError, match=message):
        leaf_seg.load(unet_model, device="cpu")(picture, num_samples=3)


def test_settings_of_latent_diffusion_are_errors(
    bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path
) -> None:
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model"]
    unfit = ["--alignment_weight", 0.75, "--image_loss_weight", 0.5, "--parameterization", "v"]
    message = _last_line(bundle_run("training", *TRAIN_UNET, *data, *small, *unfit, check=False))
    for found in ("alignment_weight is 0.75", "image_loss_weight is 0.5", "parameterization is 'v'", "unet_config#"):
        assert found in message
    assert not (tmp_path / "model").exists()
