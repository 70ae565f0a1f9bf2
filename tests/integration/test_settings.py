"""Settings that cannot be meant, and those without effect, end a command in one line, before it touches anything."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
AUTOENCODER = ["--config_file", f"{CONFIGS}/train_autoencoder.json"]
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def check_refused(result: subprocess.CompletedProcess[str], message: str) -> None:
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith(f"leaf_seg: {message}")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        (TRAIN, "max_epochs", "0"),
        (TRAIN, "max_epochs", "1e400"),
        (TRAIN, "seed", "abc"),
        (TRAIN, "learning_rate", "True"),
        (TRAIN, "ema_decay", "1"),
        (TRAIN, "lr_schedule", "cosin"),
        (TRAIN, "class_names", "abc"),
        (TRAIN, "datalist_file", "['a','b']"),
        (AUTOENCODER, "batch_size", "0"),
        (AUTOENCODER, "kl_weight", "-1"),
    ],
)
def test_training_with_a_value_that_cannot_be_meant_leaves_the_former_one_whole(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path, config: list[str], key: str, value: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(picture_model, folder)
    before = contents(folder)
    given = ["--dataset_dir", pictures, "--output_dir", folder, "--overwrite", "true", f"--{key}", value]
    check_refused(bundle_run("training", *config, *given, check=False), f"{key} is ")
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("run_id", "config", "option", "value", "message"),
    [
        ("evaluating", EVALUATE, "axis", "1", "axis is 1; expected "),
        ("evaluating", EVALUATE, "mirror_axes", "abc", "mirror_axes is 'abc'; expected "),
        ("evaluating", EVALUATE, "surface_tolerance", "-1", "surface_tolerance is -1; expected "),
        ("evaluating", EVALUATE, "surface_tolerance_share", "2", "surface_tolerance_share is 2; expected "),
        ("evaluating", EVALUATE, "window", "[0,1]", "window is [0, 1]: evaluating has no part that uses it"),
        ("evaluating", EVALUATE, "learning_rate", "0.1", "learning_rate is 0.1: evaluating has no part"),
        ("inference", INFER, "batch_size", "1.5", "batch_size is 1.5; expected "),
        ("inference", INFER, "output_dir", "7", "output_dir is 7; expected a folder's path"),
    ],
)
def test_the_option_is_named(
    bundle_run: Run,
    picture_model: Path,
    tmp_path: Path,
    run_id: str,
    config: list[str],
    option: str,
    value: str,
    message: str,
) -> None:
    given = ["--dataset_dir", tmp_path, "--model_dir", picture_model, f"--{option}", value]
    check_refused(bundle_run(run_id, *config, *given, check=False), message)


@pytest.mark.parametrize(
    ("option", "value"), [("--num-samples", 0), ("--batch-size", -1), ("--num-samples", 10**9), ("--batch-size", 10**9)]
)
def test_segment(run_python: Run, pictures: Path, picture_model: Path, tmp_path: Path, option: str, value: int) -> None:
    command = ["segment", pictures / "images", tmp_path / "out", "--model", picture_model, option, value]
    result = run_python("-m", "leaf_seg", *command, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"leaf_seg: {option} is {value}; expected a whole number, 1 to ")
    assert not (tmp_path / "out").exists()
