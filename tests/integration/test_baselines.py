"""What the commands refuse of baselines; tests/integration/test_every_method.py has what they do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import leaf_seg
from leaf_seg.data import ModelSettings
from leaf_seg.networks import BasicUNetSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import save_model

CONFIGS = "bundles/leaf_seg/configs"
TRAIN_UNET = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/baselines/unet.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def unet_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a U-Net that was never trained."""
    folder = tmp_path_factory.mktemp("unet_model")
    settings = ModelSettings(["background", "class_1", "class_2"], (32, 32))
    save_model(BasicUNetSegmenter(3, (32, 32), features=(4, 4, 8, 8, 8, 4)), settings, folder)
    return folder


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    line = result.stderr.rstrip().splitlines()[-1]
    assert line.startswith("leaf_seg: ")
    return line


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
