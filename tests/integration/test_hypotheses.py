"""``--mc_dropout`` and ``--ensemble`` of the commands."""

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

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import BasicUNetSegmenter
from leaf_seg.weights import save_model

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']", "--save_overlays", "false"]
INFER = ["--config_file", f"{CONFIGS}/inference.json", "--save_overlays", "false"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three U-Nets with dropout, as they begin."""
    folder = tmp_path_factory.mktemp("models")
    for seed in range(3):
        torch.manual_seed(seed)
        network = BasicUNetSegmenter(3, (32, 32), features=(4,) * 6, dropout=0.3)
        settings = ModelSettings(["background", "class_1", "class_2"], (32, 32), temperature=1.5)
        save_model(network, settings, folder / f"m_{seed}")
    return [folder / f"m_{seed}" for seed in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "number"), [("mc_dropout", 2), ("ensemble", 3)])
def test_evaluation(key: str, number: int, bundle_run: Run, pictures: Path, models: list[Path], tmp_path: Path) -> None:
    chosen = ["--mc_dropout", "true", "--num_samples", 2]
    if key == "ensemble":
        chosen = ["--ensemble", str(models[0].parent / "m_*"), "--num_noise_seeds", 3]
    model = ["--dataset_dir", pictures, "--model_dir", models[0], "--report_dir", tmp_path / "report"]
    bundle_run("evaluating", *EVALUATE, *model, *chosen)
    summary = json.loads((tmp_path / "report" / "metrics_summary.json").read_text())
    assert summary["calibration"]["temperature"] == 1
    assert list((tmp_path / "report").rglob("*variance*"))
    if key == "ensemble":  # of each member, as it is alone
        dice = summary["noise_stability"]["mean_foreground"]["dice"]["per_seed"]
        bundle_run("evaluating", *EVALUATE, *model, "--model_dir", models[2], "--report_dir", tmp_path / "alone")
        alone = json.loads((tmp_path / "alone" / "metrics_summary.json").read_text())
        assert len(dice) == number
        assert dice[2] == pytest.approx(alone["mean_foreground"]["dice"]["mean"], abs=1e-6)


@pytest.mark.parametrize("key", ["mc_dropout", "ensemble"])
def test_inference_and_segment_write_the_same(
    key: str, bundle_run: Run, run_python: Run, pictures: Path, models: list[Path], tmp_path: Path
) -> None:
    picture = pictures / "images" / "phantom_0000.png"
    chosen: dict[str, list[object]] = {
        "mc_dropout": ["--mc_dropout", "true", "--num_samples", 2],
        "ensemble": ["--ensemble", f"['{models[1]}','{models[2]}']"],
    }
    data = ["--dataset_dir", picture, "--model_dir", models[0], "--output_dir", tmp_path / "a"]
    bundle_run("inference", *INFER, *data, *chosen[key])
    options: dict[str, list[object]] = {
        "mc_dropout": ["--mc-dropout", "--num-samples", 2],
        "ensemble": ["--ensemble", *models[1:]],
    }
    command = ["segment", picture, tmp_path / "b", "--model", models[0], "--no-overlays", *options[key]]
    run_python("-m", "leaf_seg", *command)
    files = sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.png"))
    assert len(files) == 3  # labels, variance, entropy
    for file in files:
        a, b = (np.asarray(Image.open(tmp_path / folder / file)).astype(int) for folder in "ab")
        assert a.max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1)  # of 65535: rounding
    tables = [list(csv.reader((tmp_path / folder / "expected_dice.csv").open())) for folder in "ab"]
    assert tables[0] == tables[1]


def test_one_hypothesis_by_dropout_ends_with_one_clear_message(
    bundle_run: Run, run_python: Run, pictures: Path, models: list[Path], tmp_path: Path
) -> None:
    data = ["--dataset_dir", pictures, "--model_dir", models[0], "--report_dir", tmp_path]
    command = ["-m", "leaf_seg", "segment", pictures / "images", tmp_path / "b", "--model", models[0], "--mc-dropout"]
    for result in (
        bundle_run("evaluating", *EVALUATE, *data, "--mc_dropout", "true", check=False),
        run_python(*command, check=False),
    ):
        assert result.returncode != 0
        assert result.stderr.rstrip().splitlines()[-1].startswith("leaf_seg: mc_dropout is true, and num_samples is 1")
