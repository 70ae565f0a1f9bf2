"""MedSegDiff and the Probabilistic U-Net by the commands that a user types, in miniature."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import leaf_seg
from leaf_seg.networks import LatentSegmenter, ProbabilisticUNetSegmenter
from leaf_seg.weights import load_network

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']", "--save_overlays", "false"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
SMALL = {
    "medsegdiff": ["--unet_config#block_out_channels", "[8,8,8,8]", "--num_steps", 2],
    "probabilistic_unet": ["--features", "[4,4,8,8,8,4]", "--kl_weight", 0.5, "--latent_dim", 3],
}
Run = Callable[..., subprocess.CompletedProcess[str]]
Train = Callable[..., Path]


@pytest.fixture(scope="module", params=list(SMALL))
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def train(bundle_run: Run, small_run: list[str], pictures: Path, name: str) -> Train:
    """Trains into a folder, for one epoch of two."""

    def run(folder: Path, *options: object) -> Path:
        files = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/baselines/{name}.json']"]
        data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", folder, "--num_overlays", 0]
        length = ["--schedule_epochs", 2, "--warmup_steps", 1, "--noise_seed", 4]
        bundle_run("training", *files, *data, *small_run, *SMALL[name], *length, *options)
        return folder

    return run


@pytest.fixture(scope="module")
def model(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("model"))


@pytest.mark.slow
def test_the_model_knows_its_method(model: Path, name: str) -> None:
    network = load_network(model)
    described = json.loads((model / "config.json").read_text())["network"]
    if name == "medsegdiff":
        assert isinstance(network, LatentSegmenter)
        parts = {part: described[part]["_class_name"] for part in ("image_encoder", "mask_decoder", "codec", "sampler")}
        expected = {"image_encoder": "Pixels", "mask_decoder": "Pixels", "codec": "OneHotPixelCodec", "sampler": "Ddim"}
        assert parts == expected
        assert described["diffusion"]["parameterization"] == "eps"
        assert network.schedule.clip_range == 1
    else:
        assert isinstance(network, ProbabilisticUNetSegmenter)
        assert (network.latent_dim, network.noise_seed) == (3, 4)


@pytest.mark.slow
def test_evaluation_and_inference_of_hypotheses_need_no_overlay(
    bundle_run: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    several = ["--num_samples", 4, "--model_dir", model]
    report, output = tmp_path / "report", tmp_path / "output"
    seeds = ["--num_noise_seeds", 2, "--dataset_dir", pictures]
    bundle_run("evaluating", *EVALUATE, *several, *seeds, "--report_dir", report)
    summary = json.loads((report / "metrics_summary.json").read_text())
    assert summary["noise_stability"]["noise_seeds"] == [4, 5]
    images = sorted((pictures / "images").iterdir())[:2]
    bundle_run("inference", *INFER, *several, "--dataset_dir", images[0], "--output_dir", output)
    segmenter = leaf_seg.load(model, device="cpu")
    four, one = segmenter(images[0], num_samples=4), segmenter(images[0])
    np.testing.assert_array_equal(np.asarray(Image.open(output / images[0].name)), four.label)
    assert not np.array_equal(four.probabilities, one.probabilities)


@pytest.mark.slow
def test_a_training_goes_on_as_if_it_had_not_stopped(train: Train, model: Path, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", "--max_epochs", 2)
    shutil.copytree(model, tmp_path / "parts")
    parts = train(tmp_path / "parts", "--max_epochs", 2, "--resume", "true")
    states = [torch.load(folder / "checkpoints" / "last.pt", weights_only=False)["parts"] for folder in (whole, parts)]
    assert states[0]["network"].keys() == states[1]["network"].keys()
    assert all(torch.equal(value, states[1]["network"][key]) for key, value in states[0]["network"].items())
