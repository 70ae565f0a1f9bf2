"""Settings chosen by the data set, for the keys that are not given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import SMALL_NETWORK, Run

TRAIN = "bundles/leaf_seg/configs/train.json"


@pytest.mark.slow
def test_auto_chooses_what_is_not_given_and_evaluation_tells_of_leaks(
    bundle_run: Run, pictures: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    words = [word for key, value in SMALL_NETWORK.items() for word in (f"--{key}", value)]
    words += ["--dataset_dir", str(pictures), "--output_dir", str(model), "--num_classes", "3", "--num_workers", "0"]
    words += ["--precision", "fp32", "--max_epochs", "1", "--batch_size", "4", "--group_regex", r"phantom_00(\d)"]
    bundle_run("training", "--config_file", TRAIN, "--auto", "true", *words)
    log = (model / "train.log").read_text()
    assert "auto: image_size is [64, 64]: slices are 40 x 48" in log
    assert "auto: learning_rate is 0.0001: " in log
    assert "auto: batch_size" not in log
    assert "of 2 groups (patients or sequences) have cases in more than one split: 0" in log
    assert json.loads((model / "config.json").read_text())["settings"]["image_size"] == [64, 64]

    files = f"['{TRAIN}','bundles/leaf_seg/configs/evaluate.json']"
    arguments = ["--config_file", files, "--dataset_dir", str(pictures), "--output_dir", str(model)]
    bundle_run("evaluating", *arguments, "--precision", "fp32")
    leakage = json.loads((model / "evaluation" / "testing" / "metrics_summary.json").read_text())["leakage"]
    assert leakage["same_file"]["n"] == 0
    assert 0 < leakage["same_group"]["n"] <= leakage["same_group"]["of"]
    refused = bundle_run("evaluating", *arguments, "--auto", "true", check=False)
    assert refused.returncode != 0
    assert "auto is 'true': evaluating has no part that uses it" in refused.stderr
