"""What is checked when a command of MONAI's begins, without running one."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from leaf_seg.runtime.config_checks import check_config, check_files
from leaf_seg.runtime.errors import InputError

PROGRAM = str(Path(monai.bundle.__file__).with_name("__main__.py"))
CONFIGS = Path(inspect.getfile(check_config)).parents[2] / "configs"
BASELINES = sorted(file.stem for file in (CONFIGS / "baselines").glob("*.json"))
METHODS = sorted(file.stem for file in (CONFIGS / "methods").glob("*.json"))
TRAIN = str(CONFIGS / "train.json")


def check(*arguments: str, command: str = "run") -> None:
    argv = [PROGRAM, command, *arguments]
    check_files(argv)
    check_config(argv)


def overlay(folder: Path, content: dict[str, Any]) -> str:
    file = folder / "mine.json"
    file.write_text(json.dumps(content))
    return str(file)


def test_other_processes_are_left_alone() -> None:
    for argv in (["pytest", "run", "trainig", "--config_file", TRAIN], [PROGRAM], [PROGRAM, "run"]):
        check_files(argv)
        check_config(argv)


@pytest.mark.parametrize(
    ("run_id", "names"),
    [
        ("training", ["train", "profiles/hippocampus"]),
        ("training", ["train", "methods/leaf_paper", "profiles/ldm_kl8"]),
        ("training", ["train_autoencoder", "profiles/light_autoencoder"]),
        ("training", ["train_autoencoder", "profiles/vq_autoencoder"]),
        ("training", ["train", "methods/medseglatdiff"]),
        ("evaluating", ["train_autoencoder", "profiles/mask_autoencoder", "evaluate_autoencoder"]),
        ("evaluating", ["train", "evaluate"]),
        ("evaluating", ["train", "methods/ddim", "profiles/hippocampus", "evaluate"]),
        *(("evaluating", ["train", f"baselines/{name}", "evaluate"]) for name in BASELINES),
        *(("training", ["train", f"methods/{name}"]) for name in METHODS if name != "sdseg_classes"),
        ("training", ["train", "methods/sdseg", "methods/sdseg_classes"]),
        ("evaluating", ["train_autoencoder", "evaluate_autoencoder"]),
        ("inference", ["inference"]),
        ("inference", ["inference", "profiles/monailabel_inference"]),
        ("training", ["train", "profiles/monailabel_train"]),
    ],
)
def test_the_shipped_files_pass(run_id: str, names: list[str]) -> None:
    check(run_id, "--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in names)))


@pytest.mark.parametrize("run_id", ["training", "train#trainer", "run"])
def test_what_can_be_run(run_id: str) -> None:
    check(run_id, "--config_file", TRAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["trainig"],
            r"run_id 'trainig' is not in train\.json; did you mean 'training'\? There can be run",
        ),
        (["evaluating"], r"run_id 'evaluating' is not in train\.json"),
        (["3"], r"run_id '?3'? is not in train\.json\."),
        (["training", "--final_id", "ending"], r"final_id 'ending' is not in train\.json\."),
    ],
)
def test_what_cannot(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        check(*arguments, "--config_file", TRAIN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learning_rate": "abc"}, "learning_rate is 'abc'; expected a number, 0 to 1"),
        ({"image_size": 0}, "image_size is 0; expected 2 whole numbers"),
        ({"max_epochs": []}, r"max_epochs is \[\]; expected"),
        ({"num_classes": "two"}, "num_classes is 'two'; expected"),
        ({"dataset_dir": 2023}, "dataset_dir is 2023; expected"),
        ({"overwrite": "maybe"}, "The value of overwrite is 'maybe'"),
        ({"train#trainer#max_epoch": 3}, r"no key 'train#trainer#max_epoch' in train\.json; did you mean"),
        ({"train#trainer#max_epochs": "abc"}, "train#trainer#max_epochs is 'abc'; expected"),
        ({"+unet_config": {"block_out_chanels": [1]}}, "no key 'unet_config#block_out_chanels'"),
        ({"unet_config": {"block_out_chanels": [1]}}, "no key 'unet_config#block_out_chanels'"),
        ({"optimizer": 3}, "optimizer is 3; expected"),
    ],
)
def test_an_overlay_is_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    file = overlay(tmp_path, content)
    with pytest.raises(InputError, match=f"^{file}: {message}"):
        check("training", "--config_file", f"['{TRAIN}','{file}']")


def test_what_an_overlay_adds_can_be_changed(tmp_path: Path) -> None:
    file = overlay(tmp_path, {"train#extra": {}, "train#extra#rate": 1, "optimizer#lr": "$@train#extra['rate']"})
    files = f"['{TRAIN}','{file}']"
    check("training", "--config_file", files, "--train#extra#rate", "2")
    with pytest.raises(InputError, match=r"^train#extra#rate is 'abc'; expected a number"):
        check("training", "--config_file", files, "--train#extra#rate", "abc")


def test_a_reference_that_leads_nowhere() -> None:
    check("training", "--config_file", TRAIN, "--batch_size", "@accumulation_steps")
    with pytest.raises(InputError, match=r"^batch_size is '@acumulation_steps', which refers to @acum"):
        check("training", "--config_file", TRAIN, "--batch_size", "@acumulation_steps")


@pytest.mark.parametrize("command", ["run", "run_workflow"])
def test_arguments_from_a_file(tmp_path: Path, command: str) -> None:
    file = tmp_path / "arguments.json"
    file.write_text(json.dumps({"run_id": "training", "config_file": TRAIN, "train#trainer#max_epoch": 3}))
    with pytest.raises(InputError, match=r"^no key 'train#trainer#max_epoch'"):
        check("--args_file", str(file), command=command)


def test_tracking_brings_keys() -> None:
    check("training", "--config_file", TRAIN, "--tracking", "mlflow", "--run_name", "first", "--_meta_#version", "2")
