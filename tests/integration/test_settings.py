"""Settings that cannot be meant, and those without effect, end a command in one line, before it touches anything."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.runtime import workers

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
    ("run_id", "config", "folder"),
    [("evaluating", EVALUATE, "--report_dir"), ("inference", INFER, "--output_dir")],
)
def test_pictures_have_no_third_axis_to_be_mirrored_along(
    bundle_run: Run,
    pictures: Path,
    picture_model: Path,
    tmp_path: Path,
    run_id: str,
    config: list[str],
    folder: str,
) -> None:
    dataset = pictures / "images" if run_id == "inference" else pictures
    given = ["--dataset_dir", dataset, folder, tmp_path, "--model_dir", picture_model, "--mirror_axes", "[2]"]
    result = bundle_run(run_id, *config, *given, check=False)
    check_refused(result, "mirror_axes is [2]; the images are pictures")
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_id", "config", "key", "folder"),
    [
        ("training", TRAIN, "num_workers", "--output_dir"),
        ("training", AUTOENCODER, "num_workers", "--output_dir"),
        ("training", TRAIN, "validate#dataloader#num_workers", "--output_dir"),
        ("evaluating", EVALUATE, "validate#dataloader#num_workers", "--report_dir"),
        ("inference", INFER, "dataloader#num_workers", "--output_dir"),
    ],
)
def test_workers_whose_sockets_would_have_no_room(
    bundle_run: Run,
    pictures: Path,
    picture_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_id: str,
    config: list[str],
    key: str,
    folder: str,
) -> None:
    monkeypatch.setattr(workers, "_MOST_BYTES", 30)
    given = ["--dataset_dir", pictures / "images" if run_id == "inference" else pictures, folder, tmp_path / "out"]
    given += ["--num_classes", 3, "--num_workers", 0] if run_id == "training" else ["--model_dir", picture_model]
    result = bundle_run(run_id, *config, *given, f"--{key}", 1, check=False)
    check_refused(result, "The path of the temporary folder")
    assert not list((tmp_path / "out").glob("*.json"))


def test_segment_with_a_model_that_mirrors_volumes(
    run_python: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    file = Path(shutil.copytree(picture_model, tmp_path / "model")) / "config.json"
    config = json.loads(file.read_text())
    config["settings"]["mirror_axes"] = [2]
    del config["sha256"]
    file.write_text(json.dumps(config))
    command = ["segment", pictures / "images", tmp_path / "out", "--model", tmp_path / "model"]
    result = run_python("-m", "leaf_seg", *command, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("leaf_seg: mirror_axes is [2]; the images are pictures")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--num-samples", 0), ("--batch-size", -1), ("--num-samples", 10**9), ("--batch-size", 10**9)]
)
def test_segment(run_python: Run, pictures: Path, picture_model: Path, tmp_path: Path, option: str, value: int) -> None:
    command = ["segment", pictures / "images", tmp_path / "out", "--model", picture_model, option, value]
    result = run_python("-m", "leaf_seg", *command, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"leaf_seg: {option} is {value}; expected a whole number, 1 to ")
    assert not (tmp_path / "out").exists()
