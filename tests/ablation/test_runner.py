"""Rows are run by command, once, and gone on with where they stopped."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import fire
import pytest

from leaf_seg.ablation import Ablation, CommandFailed, ParentRun, Row, check_folders, run_all
from leaf_seg.ablation.runner import run_command
from leaf_seg.runtime.errors import InputError

FakeCommands = Any  # see conftest.py

ROWS = [Row("default", {"max_epochs": 2}), Row("v", {"max_epochs": 2, "parameterization": "v"})]
UNET = Row("unet", {"max_minutes": 5.0, "datalist_file": "split.json"}, ("baselines/unet",), draws_noise=False)


def test_training_command_is_read_as_it_is_meant(ablation: Ablation, parent: ParentRun):
    row = Row("x", {"image_size": [96, 64], "scheduler#beta_start": 1e-4, "window": None, "parameterization": "v"})
    words = ablation.training_command(row, 2, parent)
    assert words[:4] == ["-m", "monai.bundle", "run", "training"]
    given: dict[str, Any] = {}
    fire.Fire(lambda **arguments: given.update(arguments), command=words[4:])
    assert given.pop("window") == "$None"  # MONAI passes over None
    assert given == {
        "config_file": "bundles/leaf_seg/configs/train.json",
        "bundle_root": "bundles/leaf_seg",
        "dataset_dir": "data/cells",
        "output_dir": str(ablation.output_dir / "x" / "seed_2"),
        "num_classes": 3,
        "seed": 2,
        "image_size": [96, 64],
        "scheduler#beta_start": 1e-4,
        "parameterization": "v",
        "tracking": "mlflow",
        "tracking_uri": "sqlite:////store/mlruns.db",
        "experiment_name": "ablation_x",
        "run_name": "x_seed_2",
        "parent_run": "parent_id",
    }
    assert "num_classes" not in str(replace(ablation, num_classes=None).training_command(row, 2, parent))


def test_baseline_is_trained_with_its_overlay_and_evaluated_with_its_own_noise(ablation: Ablation, parent: ParentRun):
    configs = "bundles/leaf_seg/configs"
    words = ablation.training_command(UNET, 0, parent)
    assert words[words.index("--config_file") + 1] == f'["{configs}/train.json", "{configs}/baselines/unet.json"]'
    words = ablation.evaluation_command(UNET, 0, parent)
    assert words[words.index("--config_file") + 1] == f'["{configs}/train.json", "{configs}/evaluate.json"]'
    assert words[words.index("--num_noise_seeds") + 1] == "1"
    assert words[words.index("--datalist_file") + 1] == "split.json"
    assert "--max_minutes" not in words
    assert words[words.index("--tracking_uri") + 1] == parent.tracking_uri


def test_every_row_and_seed_is_trained_and_evaluated_once(
    ablation: Ablation, parent: ParentRun, commands: FakeCommands, caplog: pytest.LogCaptureFixture
):
    ablation = replace(ablation, seeds=[0, 1])
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        assert run_all(ablation, ROWS, parent, commands) == {}
    expected = [
        (command, row, seed)
        for row in ("default", "v")
        for seed in ("seed_0", "seed_1")
        for command in ("training", "evaluating")
    ]
    assert commands.done == expected
    assert "row 2 of 2: v, seed 1" in caplog.text
    assert not any("resume" in given for _, _, given in commands.calls)

    run_all(ablation, ROWS, parent, commands)
    assert commands.done == expected, "nothing is left to do"

    run_all(replace(ablation, seeds=[0, 1, 2]), ROWS, parent, commands)
    assert commands.done[len(expected) :] == [
        (command, row, "seed_2") for row in ("default", "v") for command in ("training", "evaluating")
    ]


def test_another_number_of_noise_seeds_is_evaluated_alone(
    ablation: Ablation, parent: ParentRun, commands: FakeCommands
):
    run_all(ablation, ROWS, parent, commands)
    run_all(replace(ablation, noise_seeds=3), ROWS, parent, commands)
    assert commands.done[4:] == [("evaluating", "default", "seed_0"), ("evaluating", "v", "seed_0")]
    assert commands.calls[-1][2]["num_noise_seeds"] == "3"


def test_a_training_that_stopped_is_resumed(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    commands.failing = {("training", "default")}
    assert run_all(ablation, ROWS, parent, commands) == {"default": [0]}
    assert commands.done == [("training", "default", "seed_0")] + [
        (command, "v", "seed_0") for command in ("training", "evaluating")
    ]
    commands.failing, commands.calls = set(), []
    assert run_all(ablation, ROWS, parent, commands) == {}
    assert commands.done == [(command, "default", "seed_0") for command in ("training", "evaluating")]
    assert commands.calls[0][2]["resume"] == "true"


def test_a_failed_evaluation_is_repeated_without_training(
    ablation: Ablation, parent: ParentRun, commands: FakeCommands
):
    commands.failing = {("evaluating", "v")}
    assert run_all(ablation, ROWS, parent, commands) == {"v": [0]}
    commands.failing, commands.calls = set(), []
    assert run_all(ablation, ROWS, parent, commands) == {}
    assert commands.done == [("evaluating", "v", "seed_0")]


def test_an_interrupted_training_is_resumed(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    def interrupt(words: list[str], log: Path) -> None:
        commands(words, log)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(ablation, ROWS, parent, interrupt)  # type: ignore[arg-type]
    run_all(ablation, ROWS[:1], parent, commands)
    assert commands.calls[1][2]["resume"] == "true"


def test_other_settings_in_the_folder_are_named(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    run_all(ablation, ROWS, parent, commands)
    other = [ROWS[0], Row("v", {"max_epochs": 3, "parameterization": "v"})]
    message = rf"{ablation.folder(ROWS[1], 0)} was made with other settings \(max_epochs: 2, now 3\)"
    with pytest.raises(InputError, match=message):
        check_folders(ablation, other)
    with pytest.raises(InputError, match="dataset_dir"):
        check_folders(replace(ablation, dataset_dir="elsewhere"), ROWS)
    check_folders(ablation, ROWS)


def test_what_failed_before_it_trained_can_be_corrected(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    commands.failing = {("training", "v")}
    run_all(ablation, ROWS[1:], parent, commands)
    corrected = [Row("v", {"max_epochs": 3, "parameterization": "v"})]
    with pytest.raises(InputError):
        check_folders(ablation, corrected)
    (ablation.folder(ROWS[1], 0) / "model.pt").unlink()
    check_folders(ablation, corrected)
    commands.failing = set()
    assert run_all(ablation, corrected, parent, commands) == {}
    assert "resume" not in commands.calls[1][2]
    state = json.loads((ablation.folder(corrected[0], 0) / "ablation_row.json").read_text())
    assert state["settings"]["max_epochs"] == 3


def test_a_command_is_shown_logged_and_its_failure_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    log = tmp_path / "training.log"
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        run_command(["-c", "print('all is well')"], log)
    assert "$ python -c" in caplog.text
    code = "import sys; sys.stderr.write('a bar 10%\\ra bar 90%\\n\\nleaf_seg: no such key\\n'); sys.exit(3)"
    with pytest.raises(CommandFailed) as failure:
        run_command(["-c", code], log)
    message = str(failure.value)
    assert "exit code 3" in message
    assert str(log) in message
    assert message.endswith("  a bar 90%\n  leaf_seg: no such key")
    assert "all is well" in log.read_text(), "the log of an earlier command stays"
