"""A model that sees images tile by tile, from training to segmentation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaf_seg.data import make_phantoms

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIGS = "bundles/leaf_seg/configs"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("large"), num_cases=6, num_classes=3, size=(80, 70))


@pytest.fixture(scope="module")
def model(large: Path, small: list[str], bundle_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    data = ["--dataset_dir", large, "--num_classes", 3, "--output_dir", folder, "--tile_overlap", 0.25]
    result = bundle_run("training", "--config_file", f"{CONFIGS}/train.json", *data, *small)
    assert "36 training slices of 4 cases" in result.stdout + result.stderr  # 3 x 3 tiles of each
    return folder


@pytest.mark.slow
def test_it_evaluates_and_segments_at_native_size(model: Path, large: Path, bundle_run: Run, run_python: Run) -> None:
    assert json.loads((model / "config.json").read_text())["settings"]["tile_overlap"] == 0.25
    files = f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"
    bundle_run("evaluating", "--config_file", files, "--model_dir", model, "--dataset_dir", large)
    report = model / "evaluation" / "testing"
    assert json.loads((report / "metrics_summary.json").read_text())["n"] == 1
    (saved,) = report.glob("phantom_*.png")
    source = large / "images" / saved.name
    run_python("-m", "leaf_seg", "segment", source, model / "segmented", "--model", model, "--device", "cpu")
    found = np.asarray(Image.open(model / "segmented" / saved.name))
    assert found.shape == (80, 70)
    np.testing.assert_array_equal(found, np.asarray(Image.open(saved)))


@pytest.mark.slow
def test_what_cannot_be(model: Path, large: Path, bundle_run: Run, run_python: Run, tmp_path: Path) -> None:
    words = ("-m", "leaf_seg", "export", model, "--to", "torchscript", "--whole", "--output", tmp_path / "model.ts")
    result = run_python(*words, check=False)
    assert result.returncode == 2
    assert "the model sees images tile by tile" in result.stderr
    data = ["--dataset_dir", large, "--num_classes", 3, "--output_dir", tmp_path / "run", "--tile_overlap", 0]
    cached = ["--feature_cache_gb", 1, "--train#augmentation", "$None"]
    result = bundle_run("training", "--config_file", f"{CONFIGS}/train.json", *data, *cached, check=False)
    assert result.returncode == 1
    assert "tile_overlap is 0: tiles move at random" in result.stderr
