from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import (
    check_command_line,
    command_line_config,
    command_line_settings,
)
from tests.in_process import run_in_process

PROGRAM = str(Path(monai.bundle.__file__).with_name("__main__.py"))


@pytest.fixture
def config(tmp_path: Path) -> str:
    content = {
        "alignment_weight": 0,
        "resume": False,
        "train": {"trainer": {"max_epochs": 1}},
        "run": [
            "$__import__('leaf_seg.runtime.overrides').runtime.overrides.check_command_line()",
            "$print('trained', @resume)",
        ],
    }
    return _write(tmp_path / "train.json", content)


@pytest.fixture
def overlay(tmp_path: Path) -> str:
    return _write(tmp_path / "profile.json", {"+train#handlers": [], "width": 64})


def _write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def _check(*arguments: str, command: str = "run") -> None:
    check_command_line([PROGRAM, command, *arguments])


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["--alignment_weight", "0.75"],
        ["--alignment_weight=0.75"],
        ["--alignment-weight", "0.75"],
        ["--resume"],
        ["--noresume"],
        ["--train#trainer#max_epochs", "2"],
        ["--train::trainer::max_epochs", "2"],
        ["--logging_file", "x.conf", "--init_id", "start", "--meta_file", "m.json", "--workflow_type", "train"],
        ["--_meta_#version", "2"],
        ["--alignment_weight", "-1"],
        ["--tracking", "mlflow", "--run_name", "first", "--experiment_name", "one"],
        ["--", "--trace"],
    ],
)
def test_known_keys_pass(config: str, overrides: list[str]) -> None:
    _check("training", "--config_file", config, *overrides)


@pytest.mark.parametrize(
    ("overrides", "key", "nearest"),
    [
        (["--alignment_wieght", "0.75"], "alignment_wieght", "alignment_weight"),
        (["--alignment_wieght=0.75"], "alignment_wieght", "alignment_weight"),
        (["--alignment-wieght", "0.75"], "alignment_wieght", "alignment_weight"),
        (["--alignment_wieght", "None"], "alignment_wieght", "alignment_weight"),
        (["--resum"], "resum", "resume"),
        (["--trian#trainer#max_epochs", "2"], "trian#trainer#max_epochs", "train"),
        (["--trian::trainer::max_epochs", "2"], "trian::trainer::max_epochs", "train"),
        (["--+trian", "{}"], "+trian", "train"),
        (["--logging_fil", "x.conf"], "logging_fil", "logging_file"),
    ],
)
def test_unknown_keys_are_reported_with_the_nearest(config: str, overrides: list[str], key: str, nearest: str) -> None:
    with pytest.raises(InputError) as caught:
        _check("training", "--config_file", config, *overrides)
    assert f"no key {key!r} in train.json; did you mean {nearest!r}?" in str(caught.value)


def test_all_unknown_keys_are_reported_at_once(config: str) -> None:
    with pytest.raises(InputError) as caught:
        _check("--config_file", config, "--resum", "1", "--zzz", "2")
    assert "no key 'resum' in train.json; did you mean 'resume'?" in str(caught.value)
    assert "no key 'zzz' in train.json. Correct" in str(caught.value)


def test_nothing_can_be_added_on_the_command_line(config: str) -> None:
    """MONAI would replace the item by what was to be added."""
    with pytest.raises(InputError, match=r"^--\+train, --\+train#handlers: MONAI adds"):
        _check("--config_file", config, "--+train", "{'amp': True}", "--+train#handlers", "[]")


def test_a_value_that_monai_passes_over_is_refused(config: str) -> None:
    with pytest.raises(InputError, match=r"--alignment_weight, --train#trainer None would be passed over"):
        _check("--config_file", config, "--alignment_weight", "None", "--train#trainer=None")
    _check("--config_file", config, "--alignment_weight", "$None")


def test_names_of_python_parameters_are_no_keys(config: str) -> None:
    for name in ("override", "kwargs", "self"):
        with pytest.raises(InputError, match=name):
            _check("--config_file", config, f"--{name}", "1")


def test_tracking_keys_need_tracking(config: str) -> None:
    with pytest.raises(InputError, match="run_name"):
        _check("--config_file", config, "--run_name", "first")


def test_tracking_settings_from_a_file(config: str, tmp_path: Path) -> None:
    settings = _write(tmp_path / "tracking.json", {"handlers_id": {}, "configs": {"server": "x"}})
    _check("--config_file", config, "--tracking", settings, "--server", "y")


@pytest.mark.parametrize("form", ["['{0}','{1}']", "[{0!r}, {1!r}]", "{0},{1}"])
@pytest.mark.parametrize("joined", [True, False])
def test_overlays_bring_their_keys(config: str, overlay: str, form: str, joined: bool) -> None:
    files = form.format(config, overlay)
    arguments = [f"--config_file={files}"] if joined else ["--config_file", files]
    _check("training", *arguments, "--width", "32", "--resume", "true")
    with pytest.raises(InputError, match=r"no key 'widht' in train\.json, profile\.json; did you mean 'width'\?"):
        _check("training", *arguments, "--widht", "32")


def test_args_file_is_checked_too(config: str, tmp_path: Path) -> None:
    good = _write(tmp_path / "good.json", {"config_file": config, "run_id": "training", "resume": True})
    _check("--args_file", good, "--alignment_weight", "1")
    with pytest.raises(InputError, match="'alignment_wieght'"):
        _check("--args_file", good, "--alignment_wieght", "1")

    bad = _write(tmp_path / "bad.json", {"config_file": config, "resum": True})
    with pytest.raises(InputError, match=r"'resum' in train\.json"):
        _check("--args_file", bad)


@pytest.mark.parametrize("command", ["run_workflow", "run-workflow"])
def test_run_workflow_is_checked_too(config: str, command: str) -> None:
    arguments = ["--workflow_name", "ConfigWorkflow", "--config_file", config]
    _check(*arguments, "--resume", "true", command=command)
    with pytest.raises(InputError, match="'resum'"):
        _check(*arguments, "--resum", "true", command=command)


@pytest.mark.parametrize(
    "argv",
    [
        ["/usr/bin/pytest", "run", "--nonsense", "1"],
        ["/x/leaf_seg/__main__.py", "run", "--nonsense", "1"],
        [PROGRAM, "ckpt_export", "--nonsense", "1"],
        [PROGRAM],
    ],
)
def test_other_processes_are_left_alone(argv: list[str]) -> None:
    check_command_line(argv)


def test_real_command(config: str) -> None:
    command = ["-m", "monai.bundle", "run", "--config_file", config]

    done = run_in_process(*command, "--resume", "yes")
    assert done.returncode == 0, done.stderr
    assert "trained yes" in done.stdout

    refused = run_in_process(*command, "--resum", "yes")
    assert refused.returncode != 0
    assert "no key 'resum' in train.json; did you mean 'resume'?" in refused.stderr
    assert "trained" not in refused.stdout


def _argv(config: str, *arguments: str) -> list[str]:
    return [PROGRAM, "run", "--config_file", config, *arguments]


def test_config_of_the_command_line(config: str, overlay: str) -> None:
    files = f"['{config}','{overlay}']"
    found = command_line_config(_argv(files, "--train#trainer#max_epochs", "7", "--resume", "true", "--run_id", "run"))
    assert found is not None
    assert found["train"]["trainer"]["max_epochs"] == 7
    assert found["resume"] == "true"
    assert found["width"] == 64
    assert found["train"]["handlers"] == []
    assert "run_id" not in found
    json.dumps(found)


def test_settings_are_what_a_user_sets(config: str) -> None:
    found = command_line_settings(_argv(config, "--train#trainer#max_epochs", "7", "--alignment_weight", "0.5"))
    assert found == {"alignment_weight": 0.5, "resume": False, "train/trainer/max_epochs": 7}


def test_no_command_line_no_config(config: str) -> None:
    for argv in (["pytest", "run", "--config_file", config], [PROGRAM, "run"], [PROGRAM, "ckpt_export"]):
        assert command_line_config(argv) is None
        assert command_line_settings(argv) == {}
