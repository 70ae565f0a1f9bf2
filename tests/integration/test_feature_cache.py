"""The cache of mask latents and teacher features, by the commands of the bundle."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

CONFIGS = "bundles/leaf_seg/configs"
PAPER = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/methods/leaf_paper.json']"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            "train",
            "feature_cache_gb is 1, but train#augmentation has BatchAffine, BatchGamma, BatchIntensity, BatchNoise",
        ),
        ("baselines/unet", "feature_cache_gb is 1: what these config files train has no part that uses it."),
    ],
)
def test_where_it_is_of_no_use_it_is_refused_before_anything_is_touched(
    bundle_run: Run, pictures: Path, tmp_path: Path, files: str, message: str
) -> None:
    config = ",".join(f"'{CONFIGS}/{name}.json'" for name in dict.fromkeys(("train", files)))
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "run"]
    result = bundle_run("training", "--config_file", f"[{config}]", *data, "--feature_cache_gb", 1, check=False)
    assert result.returncode != 0
    assert result.stderr.rstrip().splitlines()[-1].startswith(f"leaf_seg: {message}")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def entries(folder: Path) -> dict[str, int]:
    """The files of a cache, and when each was written."""
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


@pytest.mark.nightly
def test_trainings_with_it_resumed_and_repeated_are_the_one_without(
    bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path
) -> None:
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path / "teacher")
    words = [*PAPER, *small, "--dataset_dir", pictures, "--num_classes", 3, "--teacher", tmp_path / "teacher"]
    words += ["--warmup_steps", 2, "--schedule_epochs", 3, "--val_interval", 3, "--num_overlays", 0]
    words += ["--precision", "bf16", "--image_loss_weight", 1]

    def train(name: str, max_epochs: int, *options: object) -> subprocess.CompletedProcess[str]:
        return bundle_run("training", *words, "--output_dir", tmp_path / name, "--max_epochs", max_epochs, *options)

    def losses(name: str) -> str:
        return (tmp_path / name / "losses.csv").read_text()

    def weights(name: str) -> dict[str, torch.Tensor]:
        checkpoint = torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=False)
        found: dict[str, torch.Tensor] = checkpoint["parts"]["network"]
        return found

    train("without", 3, "--feature_cache_gb", "$None")  # leaf_paper.json has one
    assert not (tmp_path / "without" / "features").exists()
    train("cached", 1, "--feature_cache_gb", 1)
    folder = tmp_path / "cached" / "features"
    assert {name.partition("_")[0] for name in (path.name for path in folder.iterdir())} == {"MaskEncoder", "Teacher"}
    train("cached", 3, "--feature_cache_gb", 1, "--resume", "true")
    expected = weights("without")
    assert [key for key, value in weights("cached").items() if not torch.equal(value, expected[key])] == []

    before = entries(folder)
    again = train("cached", 3, "--feature_cache_gb", 1, "--overwrite", "true")
    assert "look-ups (100%) found theirs" in again.stdout + again.stderr
    assert entries(folder) == before
    assert [key for key, value in weights("cached").items() if not torch.equal(value, expected[key])] == []
    assert [line.split(",")[3:6] for line in losses("cached").splitlines()] == [
        line.split(",")[3:6] for line in losses("without").splitlines()
    ]
