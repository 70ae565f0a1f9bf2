"""Checks a command or an option of the documents against what the programs and the repository have."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import monai.bundle
from monai.bundle import ConfigParser

from leaf_seg import __main__ as leaf_seg_program
from leaf_seg.ablation import plan_tables
from leaf_seg.runtime.config_keys import check_effect
from leaf_seg.runtime.overrides import check_command_line, command_line_config
from leaf_seg.runtime.setting_bounds import check_settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundles" / "leaf_seg" / "configs"
BUNDLE_PROGRAM = str(Path(monai.bundle.__file__).with_name("__main__.py"))

OTHER_PROGRAMS = {"source", "cp", "sed", "curl", "monailabel", ".venv/bin/pre-commit"}  # not ours; not checked
OTHER_OPTIONS = {"conf", "host", "tracking"}  # of MONAI Label, of MONAI
MONAI_EXPORTS = ("ckpt_export", "onnx_export")
OWN_FOLDERS = ("bundles/", "docs/", "plugins/", "scripts/")  # a path in them has to be there
MADE_BY_A_TRAINING = {"runs/wbc/executed_config.json": "bundles/leaf_seg/configs/train.json"}  # has the same keys


def check(command: str) -> None:
    """Raise an AssertionError when a line of a block would not run."""
    words = shlex.split(command, comments=True)
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    program, *arguments = words
    try:
        if program == "python" and arguments[:2] == ["-m", "monai.bundle"]:
            _check_bundle_command(arguments[2:])
        elif program == "torchrun":
            _check_bundle_command(arguments[arguments.index("monai.bundle") + 1 :])
        elif program == "python" and arguments[:2] == ["-m", "leaf_seg"]:
            leaf_seg_program._parser().parse_args(arguments[2:])
        elif program == "python" and arguments[:1] == ["-c"]:
            ast.parse(arguments[1])
        elif program == "python":
            _check_script(*arguments)
        elif program == "make":
            _check_make(arguments)
        elif program == "mlflow":
            _mlflow_commands()[arguments[0]].make_context(arguments[0], arguments[1:])
        elif program.startswith("scripts/"):
            assert os.access(program, os.X_OK), f"{program} cannot be run"
        else:
            assert program in OTHER_PROGRAMS, f"{program} is no program of the documents"
    except (OSError, ValueError, KeyError, SyntaxError, SystemExit, click.ClickException) as error:
        raise AssertionError(f"{command}\n{type(error).__name__}: {error}") from error
    _check_paths(words)


def check_mention(text: str) -> None:
    """Raise an AssertionError when a command or an option within the text is none; the command may be cut short."""
    words = shlex.split(text.replace("|", " "))
    if words[0].startswith("--"):
        option = words[0].partition("=")[0]
        assert _key(option) in _known_options(), f"nothing has the option {option}"
    elif words[:3] == ["python", "-m", "monai.bundle"] and len(words) == 4:
        assert words[3] == "run", text
    elif words[:3] == ["python", "-m", "leaf_seg"] and len(words) == 4:
        assert words[3] in _subcommands(leaf_seg_program._parser()), f"no command {words[3]}"
    elif words[0] == "mlflow" and len(words) == 2:
        assert words[1] in _mlflow_commands(), f"no command {words[1]}"
    elif words[0].startswith("scripts/") and len(words) == 1:
        assert Path(words[0]).is_file(), f"no file {words[0]}"
    else:
        check(text)


def _check_bundle_command(arguments: Sequence[str]) -> None:
    if arguments[0] in MONAI_EXPORTS:
        _check_monai_export(*arguments)
        return
    assert arguments[0] == "run", f"no command {arguments[0]}"
    argv = [BUNDLE_PROGRAM, *(MADE_BY_A_TRAINING.get(word, word) for word in arguments)]
    check_command_line(argv)
    config = command_line_config(argv)
    assert config is not None, "no --config_file"
    run_id = "run" if arguments[1].startswith("-") else arguments[1]
    assert run_id in config, f"the config files have no {run_id!r}"
    check_effect(run_id, argv)
    check_settings(config)


def _check_monai_export(name: str, network: str, *options: str) -> None:
    """A command that is given at the bundle's root, with options of MONAI's."""
    assert network in json.loads((CONFIGS / "inference.json").read_text())
    known = inspect.signature(getattr(monai.bundle, name)).parameters
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert option.removeprefix("--") in known, f"{name} has no {option}"
        assert option == "--filepath" or "/" not in value or (CONFIGS.parent / value).is_file(), f"no {value}"


def _check_script(script: str, *arguments: str) -> None:
    assert script.startswith("scripts/"), f"python {script} is not checked: teach this test"
    assert Path(script).is_file(), f"no file {script}"
    module = _load_script(script)
    options = module._parser().parse_args(arguments)
    if script == "scripts/ablate.py":
        defaults = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
        baselines = module._baselines(options.baseline)
        plan_tables(options.table, options.grid, baselines, module._settings(options), defaults)
    if script == "scripts/reproduce.py":
        module._plan(options)


@cache
def _load_script(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its data classes look
    spec.loader.exec_module(module)
    return module


def _check_make(arguments: Sequence[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        pattern = rf"^{re.escape(name)} \?=" if is_variable else rf"^{re.escape(name)}:"
        assert re.search(pattern, makefile, re.MULTILINE), f"the Makefile has no {name}"


def _check_paths(words: Sequence[str]) -> None:
    for before, word in zip(["", *words], words, strict=False):
        for path in re.findall(r"[^\[\]',]+", word):
            is_data = path.startswith("../shared/") and (ROOT.parent / "shared").is_dir()
            if (path.startswith(OWN_FOLDERS) and before != "--to") or is_data:
                path = re.sub(r":\d+$", "", path)  # a folder and its classes
                assert Path(path).exists(), f"no {path}"


@cache
def _mlflow_commands() -> dict[str, click.Command]:
    from mlflow.cli import cli

    return dict(cli.commands)


@cache
def _known_options() -> set[str]:
    """Config keys and options of programs, without dashes before and with underscores within."""
    keys = {key for file in CONFIGS.rglob("*.json") for key in json.loads(file.read_text())}
    scripts = ("ablate", "benchmark", "benchmark_training", "equal_time", "reproduce")
    parsers = (leaf_seg_program._parser(), *(_load_script(f"scripts/{name}.py")._parser() for name in scripts))
    return keys.union(OTHER_OPTIONS, *(_options(parser) for parser in parsers))


def _options(parser: argparse.ArgumentParser) -> set[str]:
    own = {_key(option) for action in parser._actions for option in action.option_strings}
    return own.union(*(_options(command) for command in _subcommands(parser).values()))


def _key(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for action in actions for name, command in action.choices.items()}
