"""A model with a temperature in the bundle's commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.weights import load_settings
from leaf_seg.weights.model_config import read_configuration

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']", "--save_overlays", "false"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_an_evaluation_measures_what_was_fitted(
    bundle_run: Run, run_python: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(picture_model, tmp_path / "model")
    found = {}
    for report in ("before", "after"):
        given = ["--dataset_dir", pictures, "--model_dir", model, "--report_dir", tmp_path / report]
        bundle_run("evaluating", *EVALUATE, *given, "--split", "validation")
        found[report] = json.loads((tmp_path / report / "metrics_summary.json").read_text())
        if report == "before":
            run_python("-m", "leaf_seg", "calibrate", model, pictures, "--device", "cpu")
    record = read_configuration(model)["calibration"]
    assert load_settings(model).temperature == record["temperature"] != 1
    for report, summary in found.items():
        calibration = summary["calibration"]
        assert calibration["temperature"] == (record["temperature"] if report == "after" else 1)
        assert calibration["nll"]["mean"] == pytest.approx(record[report]["nll"], rel=1e-5)
        for name, ece in record[report]["ece"].items():
            assert calibration["classes"][name]["ece"]["mean"] == (
                None if ece is None else pytest.approx(ece, abs=1e-5)
            )
    assert found["before"]["mean_foreground"]["dice"] == found["after"]["mean_foreground"]["dice"]
