"""``--num_noise_seeds`` of the evaluation command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import load_network, load_settings, save_model

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']", "--save_overlays", "false"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_each_noise_seed_is_evaluated_as_a_model_of_that_seed(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    def evaluate(model: Path, report: Path, *arguments: object) -> dict[str, Any]:
        given = ["--dataset_dir", pictures, "--model_dir", model, "--report_dir", report, *arguments]
        bundle_run("evaluating", *EVALUATE, *given)
        return json.loads((report / "metrics_summary.json").read_text())

    network = load_network(picture_model)
    assert isinstance(network, LatentSegmenter)
    network.noise_seed, network.noise = 1, network.initial_noise(1)
    save_model(network, load_settings(picture_model), tmp_path / "seed_1")

    first = evaluate(picture_model, tmp_path / "report", "--num_noise_seeds", 2)
    second = evaluate(tmp_path / "seed_1", tmp_path / "report_1")

    stability = first.pop("noise_stability")
    assert stability["noise_seeds"] == [0, 1]
    per_seed = stability["mean_foreground"]["dice"]["per_seed"]
    assert per_seed[0] != per_seed[1]
    # The main metrics are those of the model's own seed.
    assert per_seed == pytest.approx([s["mean_foreground"]["dice"]["mean"] for s in (first, second)], abs=1e-6)
    for name in ("class_1", "class_2"):
        values = stability["classes"][name]["dice"]["per_seed"]
        assert values == pytest.approx([s["classes"][name]["dice"]["mean"] for s in (first, second)], abs=1e-6)
    assert "noise_stability" not in second


def test_unfit_number_ends_with_one_clear_message(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    given = ["--dataset_dir", pictures, "--model_dir", picture_model, "--report_dir", tmp_path]
    result = bundle_run("evaluating", *EVALUATE, *given, "--num_noise_seeds", 0, check=False)
    assert result.returncode != 0
    assert result.stderr.rstrip().splitlines()[-1].startswith("leaf_seg: num_noise_seeds is 0")
