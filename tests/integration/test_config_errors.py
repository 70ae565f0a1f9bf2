"""Mistakes in keys, values, config files and run IDs end a command in one line, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIGS = "bundles/leaf_seg/configs"
Run = Callable[..., subprocess.CompletedProcess[str]]


def files(*names: str) -> list[str]:
    return ["--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in names))]


@pytest.fixture
def check(run_python: Run, tmp_path: Path) -> Callable[..., None]:
    """Runs a command, which is to end in one line that has the message in it."""

    def run_and_check(message: str, *arguments: object, command: tuple[str, ...] = ("run", "training")) -> None:
        before = sorted(tmp_path.rglob("*"))
        given = ["--bundle_root", "bundles/leaf_seg", "--output_dir", tmp_path / "out"]
        if "--dataset_dir" not in arguments:
            given += ["--dataset_dir", tmp_path / "data"]
        result = run_python("-m", "monai.bundle", *command, *given, *arguments, check=False)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert [line for line in result.stderr.splitlines() if line] == [result.stderr.strip()]
        assert result.stderr.startswith("\nleaf_seg: ")
        assert message in result.stderr
        assert sorted(tmp_path.rglob("*")) == before

    return run_and_check


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train#trainer#max_epoch", "3", "did you mean 'train#trainer#max_epochs'?"),
        ("unet_config#block_out_chanels", "[32,32]", "did you mean 'unet_config#block_out_channels'?"),
        ("validate#inferer#overlapp", "1", "no key 'validate#inferer#overlapp' in train.json"),
        ("+train#handlers", "[]", "--+train#handlers: MONAI adds"),
        ("train#trainer#max_epochs", "abc", "train#trainer#max_epochs is 'abc'; expected a whole number"),
        (
            "validate#inferer#expected_dice",
            "false",
            "validate#inferer#expected_dice is 'false'; expected",
        ),
        ("sampler#_target_", "leaf_seg.diffusion.Dimm", "expected the path of a class or function"),
        ("learning_rate", "@learning_rat", "did you mean 'learning_rate'?"),
        ("image_size", "[a,b]", "image_size is ['a', 'b']; expected 2 whole numbers"),
        ("device", "3", "device is 3; expected a device"),
        ("dataset_dir", "2023", "dataset_dir is 2023; expected a folder's path (./ before a name that is a number)"),
        ("save_execute_config", "maybe", "save_execute_config is 'maybe'; expected"),
        ("optimizer", "adam", "optimizer is 'adam'; expected"),
    ],
)
def test_keys_and_values(check: Callable[..., None], key: str, value: str, message: str) -> None:
    check(message, *files("train"), f"--{key}", value)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["evaluate", "train"], ["train", "evaluate"]),
        (["evaluate"], ["train", "evaluate"]),
        (["methods/leaf_paper"], ["train", "methods/leaf_paper"]),
        (["methods/leaf_paper", "train"], ["train", "methods/leaf_paper"]),
        (["train", "train"], ["train"]),
        (["inference", "methods/ddim"], ["train", "methods/ddim"]),
    ],
)
def test_the_order_of_files(check: Callable[..., None], names: list[str], expected: list[str]) -> None:
    option = files(*expected)[1]
    check(f'"{option}"' if len(expected) > 1 else f"{CONFIGS}/{expected[0]}.json", *files(*names))


@pytest.mark.parametrize("command", ["run", "run_workflow"])
def test_a_run_id_that_is_mistyped(check: Callable[..., None], command: str) -> None:
    check(
        "run_id 'trainig' is not in train.json; did you mean 'training'?",
        *files("train"),
        command=(command, "--run_id", "trainig"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learning_rate": "abc"}, "mine.json: learning_rate is 'abc'; expected a number"),
        ({"learning_rat": 1}, "mine.json: no key 'learning_rat' in train.json; did you mean 'learning_rate'?"),
        ({"train#trainer#max_epoch": 1}, "mine.json: no key 'train#trainer#max_epoch' in train.json; did you mean"),
    ],
)
def test_an_overlay_of_a_user_s(
    check: Callable[..., None], tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(content))
    check(message, "--config_file", f"['{CONFIGS}/train.json','{tmp_path}/mine.json']")


@pytest.mark.parametrize("command", ["run", "run_workflow"])
def test_arguments_from_a_file(check: Callable[..., None], tmp_path: Path, command: str) -> None:
    arguments = {"run_id": "training", "config_file": f"{CONFIGS}/train.json", "train#trainer#max_epoch": 3}
    (tmp_path / "arguments.json").write_text(json.dumps(arguments))
    check("did you mean 'train#trainer#max_epochs'?", "--args_file", tmp_path / "arguments.json", command=(command,))
