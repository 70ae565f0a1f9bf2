"""Every command, option, link and picture of the documents: each is what the program, or the repository, has."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import click
import monai.bundle
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from leaf_seg import __main__ as leaf_seg_program
from leaf_seg.ablation import plan_tables
from leaf_seg.runtime.config_keys import check_effect
from leaf_seg.runtime.overrides import check_command_line, command_line_config
from leaf_seg.runtime.setting_bounds import check_settings
from tests.integration.markdown import Page

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "leaf_seg"
CONFIGS = BUNDLE / "configs"
BUNDLE_PROGRAM = str(Path(monai.bundle.__file__).with_name("__main__.py"))

FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    BUNDLE / "docs" / "README.md",
    BUNDLE / "models" / "autoencoder" / "README.md",
]
SHELL_SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))

OTHER_PROGRAMS = {"source", "cp", "sed", "curl", "monailabel", ".venv/bin/pre-commit"}  # not ours; not checked
OTHER_OPTIONS = {"conf", "host", "tracking"}  # of MONAI Label, of MONAI
OWN_FOLDERS = ("bundles/", "docs/", "plugins/", "scripts/")  # a path in them has to be there
MADE_BY_A_TRAINING = {"runs/wbc/executed_config.json": "bundles/leaf_seg/configs/train.json"}  # has the same keys


def _is_ours(line: str) -> bool:
    """Whether a line calls a program of this repository, MONAI's bundle command or MLflow."""
    return re.match(r"(\w+=\S+ )*(python |make |mlflow |scripts/\w)", line) is not None


def _commands() -> Iterator[tuple[str, str]]:
    """Commands in blocks, with their places."""
    for page in map(Page, FILES):
        for block in page.blocks:
            if any(_is_ours(line) or line.split()[0] in OTHER_PROGRAMS for _, line in block):
                yield from ((f"{page.path.relative_to(ROOT)}:{number}", line) for number, line in block)


def _mentions() -> Iterator[tuple[str, str]]:
    """Commands and options within the text, with their places."""
    for page in map(Page, FILES):
        for number, span in page.spans:
            if _is_ours(span) or re.match(r"--\w", span):
                yield f"{page.path.relative_to(ROOT)}:{number}", span


COMMANDS = list(_commands())
MENTIONS = list(_mentions())


def _parametrize(found: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", [text for _, text in found], ids=[place for place, _ in found])


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the root of the repository, as a reader does, and let argparse raise what it finds."""

    def error(self: argparse.ArgumentParser, message: str) -> NoReturn:
        raise ValueError(message)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(argparse.ArgumentParser, "error", error)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the check of the command line replaces it


def check(command: str) -> None:
    """Raise an AssertionError when a line of a block would not run."""
    words = shlex.split(command, comments=True)
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    program, *arguments = words
    try:
        if program == "python" and arguments[:2] == ["-m", "monai.bundle"]:
            _check_bundle_command(arguments[2:])
        elif program == "python" and arguments[:2] == ["-m", "leaf_seg"]:
            leaf_seg_program._parser().parse_args(arguments[2:])
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
    except (OSError, ValueError, KeyError, SystemExit, click.ClickException) as error:
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
    assert arguments[0] == "run", f"no command {arguments[0]}"
    argv = [BUNDLE_PROGRAM, *(MADE_BY_A_TRAINING.get(word, word) for word in arguments)]
    check_command_line(argv)
    config = command_line_config(argv)
    assert config is not None, "no --config_file"
    run_id = "run" if arguments[1].startswith("-") else arguments[1]
    assert run_id in config, f"the config files have no {run_id!r}"
    check_effect(run_id, argv)
    check_settings(config)


def _check_script(script: str, *arguments: str) -> None:
    assert script.startswith("scripts/"), f"python {script} is not checked: teach this test"
    assert Path(script).is_file(), f"no file {script}"
    module = _load_script(script)
    options = module._parser().parse_args(arguments)
    if script == "scripts/ablate.py":
        defaults = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
        baselines = module._baselines(options.baseline)
        plan_tables(options.table, options.grid, baselines, module._settings(options), defaults)


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
    scripts = ("ablate", "benchmark", "equal_time")
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


@_parametrize(COMMANDS)
def test_command(command: str) -> None:
    check(command)


@_parametrize(MENTIONS)
def test_command_or_option_in_the_text(command: str) -> None:
    check_mention(command)


def test_a_page_is_read_as_a_reader_does() -> None:
    text = """# Title

Text with `make
demo` and [a link](a.md), not `[a](b.md)`.

    make test    # a comment
    python -m leaf_seg compare \\
        a b

- a point

      mlflow server

```bash
make env
```

```python
x = 1
```
"""
    page = Page(Path("page.md"), text)
    assert page.spans == [(3, "make demo"), (4, "[a](b.md)")]
    assert page.links == ["a.md"]
    assert page.anchors == {"title"}
    assert page.python == ["x = 1"]
    assert page.blocks == [
        [(6, "make test    # a comment"), (7, "python -m leaf_seg compare a b")],
        [(12, "mlflow server")],
        [(15, "make env")],
    ]


def test_the_commands_that_people_need_are_documented() -> None:
    for needed in (
        "make demo",
        "make test",
        "mlflow server",
        "python -m leaf_seg compare",
        "python -m leaf_seg convert",
        "python -m leaf_seg segment",
        "python -m monai.bundle run evaluating",
        "python -m monai.bundle run inference",
        "python -m monai.bundle run training",
        "python scripts/ablate.py",
        "scripts/train_hippocampus.sh",
    ):
        assert any(command.startswith(needed) for _, command in COMMANDS), needed
    assert len(MENTIONS) > 50


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("python -m monai.bundle run training --config_file {train} --alignment_wieght 1", "did you mean 'alignment_w"),
        ("python -m monai.bundle run trainin --config_file {train}", "no 'trainin'"),
        ("python -m monai.bundle rum training --config_file {train}", "no command rum"),
        ("python -m monai.bundle run training --config_file \"['{train}','{train}x']\"", "train.jsonx"),
        ("python -m monai.bundle run training --config_file {train} --num_classes None", "passed over"),
        ("python -m monai.bundle run training --config_file {train} --bundle_root bundles/leaf", "no bundles/leaf"),
        (
            "python -m monai.bundle run training --config_file {train},{baselines/unet} --alignment_weight 1",
            "no part that uses it",
        ),
        ("python -m monai.bundle run training", "no --config_file"),
        ("python -m leaf_seg segmnt a.png out --model runs/wbc", "segmnt"),
        ("python -m leaf_seg segment a.png --model runs/wbc", "output"),
        ("python -m leaf_seg segment a.png out --model runs/wbc --num-sampels 5", "--num-sampels"),
        ("python -m leaf_seg segment a.png out --model bundles/leaf_seg/modells", "no bundles/leaf_seg/modells"),
        ("python -m leaf_sag segment a.png out --model runs/wbc", "python -m is not checked"),
        ("python scripts/ablate.py --dataset_dir a --output_dir b --tabel 2", "--tabel"),
        ("python scripts/ablate.py --dataset_dir a --output_dir b --table 5", "invalid choice: '5'"),
        ("python scripts/ablate.py --dataset_dir a --output_dir b --table 2 --set batch_sise=1", "'batch_size'"),
        ("python scripts/ablate.py --dataset_dir a --output_dir b --table 2 --baseline unett", "unett"),
        ("python scripts/ablat.py --dataset_dir a", "ablat.py"),
        ("scripts/train_hippocampu.sh Task04_Hippocampus", "scripts/train_hippocampu.sh cannot be run"),
        ("make dmeo", "the Makefile has no dmeo"),
        ("make label-server STUDY=a", "the Makefile has no STUDY"),
        ("mlflow server --backend-store-urii sqlite:///a.db", "--backend-store-urii"),
        ("mlflow sevrer", "sevrer"),
        ("cp bundles/leaf_seg/configs/profiles/split.json a", "no bundles/leaf_seg/configs/profiles/split.json"),
        ("pyhton -m leaf_seg compare a b", "pyhton is no program"),
    ],
)
def test_a_wrong_command_is_found(command: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(problem)):
        check(command.replace("{", "bundles/leaf_seg/configs/").replace("}", ".json"))


@pytest.mark.parametrize(
    "mention",
    [
        "--alignment_wieght 0.75",
        "python -m leaf_seg comparre",
        "python -m monai.bundle rum",
        "python -m leaf_seg convert SOURCE --too FOLDER",
        "make dmeo",
        "mlflow sevrer",
        "scripts/ablat.py",
    ],
)
def test_a_wrong_mention_is_found(mention: str) -> None:
    with pytest.raises(AssertionError):
        check_mention(mention)


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_commands_of_a_shell_script(script: Path, tmp_path: Path) -> None:
    """Run in a copy of the repository where ``python`` writes down its arguments instead."""
    log = tmp_path / "commands"
    python = tmp_path / "bin" / "python"
    dataset = tmp_path / "dataset"
    for folder in (python.parent, dataset, tmp_path / "scripts"):
        folder.mkdir()
    python.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec "{sys.executable}" "$@"; fi\nprintf "%s\\n" "$@" "" >> "{log}"\n'
    )
    python.chmod(0o755)
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    copy = shutil.copy(script, tmp_path / "scripts")
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    subprocess.run([copy, dataset, tmp_path / "output"], env=environment, check=True, timeout=60)
    commands = [entry.split("\n") for entry in log.read_text().removesuffix("\n\n").split("\n\n")]
    assert commands
    for words in commands:
        check(shlex.join(["python", *words]))


@pytest.mark.parametrize("file", [*FILES, ROOT / "CHANGELOG.md"], ids=lambda file: str(file.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(file: Path) -> None:
    assert _dead_links(Page(file)) == []


def test_a_dead_link_is_found() -> None:
    text = "# A title, said `so`\n[a](#a-title-said-so) [b](#b) [c](docs/c.md) ![d](docs/d.png) [e](docs/weights.md#e)"
    assert _dead_links(Page(ROOT / "page.md", text)) == ["#b", "docs/c.md", "docs/d.png", "docs/weights.md#e"]


def _dead_links(page: Page) -> list[str]:
    return [link for link in page.links if not re.match(r"https?://", link) and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Page, link: str) -> bool:
    path, _, anchor = link.partition("#")
    if not path:
        return anchor in page.anchors
    target = page.path.parent / path
    return target.exists() and (not anchor or anchor in Page(target).anchors)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_python_is_python(file: Path) -> None:
    for code in Page(file).python:
        ast.parse(code)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.slow
def test_the_readme_shows_what_the_shipped_model_says(
    run_python: Callable[..., object], shared_data: Path, tmp_path: Path
) -> None:
    shown = ROOT / "docs" / "hippocampus_007.png"
    again = tmp_path / "hippocampus_007.png"
    run_python(
        "scripts/draw_segmentation.py", shared_data / "msd_hippocampus" / "images" / "hippocampus_007.nii.gz", again
    )
    old, new = (np.asarray(Image.open(picture), dtype=float) for picture in (shown, again))
    assert old.shape == new.shape
    assert np.abs(old - new).mean() < 1  # of 255; the last digits differ between processors
    assert shown.stat().st_size < 200_000
