"""SDSeg's pass for each class, by the commands that a user types, in miniature."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import leaf_seg
from leaf_seg.data import make_phantoms
from leaf_seg.networks import ClassPassSegmenter
from leaf_seg.weights import load_network

CONFIGS = "bundles/leaf_seg/configs"
FILES = ("train", "methods/sdseg", "methods/sdseg_classes")
METHOD = ["--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in FILES))]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data"), num_cases=8, num_classes=3, size=(32, 32))


@pytest.fixture(scope="module")
def options(data: Path, small: list[str]) -> list[object]:
    return ["--dataset_dir", data, "--num_classes", 3, *small, "--num_overlays", 0, "--checkpoint_minutes", 0]


@pytest.fixture(scope="module")
def model(bundle_run: Run, options: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    bundle_run("training", *METHOD, *options, "--output_dir", folder)
    return folder


@pytest.mark.slow
def test_the_model_knows_its_method(model: Path) -> None:
    network = load_network(model)
    assert isinstance(network, ClassPassSegmenter)
    assert (network.unet.config["in_channels"], network.unet.config["out_channels"]) == (8, 4)
    assert network.unet.config["num_class_embeds"] == 3
    config = json.loads((model / "config.json").read_text())["network"]
    assert config["codec"] == {"_class_name": "ClassMasksCodec", "num_classes": 3}
    assert config["diffusion"]["parameterization"] == "eps"


@pytest.mark.slow
def test_evaluate_and_infer_need_no_overlay(bundle_run: Run, data: Path, model: Path, tmp_path: Path) -> None:
    report, output = tmp_path / "report", tmp_path / "output"
    given = ["--dataset_dir", data, "--model_dir", model, "--report_dir", report, "--save_overlays", "false"]
    bundle_run("evaluating", *EVALUATE, *given, "--num_noise_seeds", 2)
    stability = json.loads((report / "metrics_summary.json").read_text())["noise_stability"]
    assert stability["noise_seeds"] == [0, 1]
    first = next((data / "images").iterdir())
    bundle_run("inference", *INFER, "--dataset_dir", first, "--model_dir", model, "--output_dir", output)
    segmenter = leaf_seg.load(model, device="cpu")
    np.testing.assert_array_equal(np.asarray(Image.open(output / first.name)), segmenter(first).label)
    probabilities = torch.as_tensor(segmenter(first, num_samples=2).probabilities)
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(32, 32))


@pytest.mark.slow
def test_resumes(bundle_run: Run, options: list[object], model: Path) -> None:
    def checkpoint() -> dict[str, Any]:
        found: dict[str, Any] = torch.load(model / "checkpoints" / "last.pt", weights_only=False)
        return found

    steps = checkpoint()["iteration"]
    bundle_run("training", *METHOD, *options, "--output_dir", model, "--max_epochs", 2, "--resume", "true")
    assert checkpoint()["iteration"] == 2 * steps
    rates = [group["initial_lr"] for group in checkpoint()["parts"]["optimizer"]["param_groups"]]
    assert rates == pytest.approx([4e-4, 4e-2])
