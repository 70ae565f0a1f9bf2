"""Every command, option, link and picture of the documents: each is what the program, or the repository, has."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from tests.integration.documented import OTHER_PROGRAMS, ROOT, check, check_mention
from tests.integration.markdown import Page

BUNDLE = ROOT / "bundles" / "leaf_seg"

FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    BUNDLE / "docs" / "README.md",
    *sorted((BUNDLE / "models").glob("*/README.md")),
]
SHELL_SCRIPTS = [path for path in sorted((ROOT / "scripts").glob("*.sh")) if "-m monai.bundle" in path.read_text()]


def _is_ours(line: str) -> bool:
    """Whether a line calls a program of this repository, MONAI's bundle command or MLflow."""
    return re.match(r"(\w+=\S+ )*(python |torchrun |make |mlflow |scripts/\w)", line) is not None


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


@_parametrize(COMMANDS)
def test_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if re.search(r"(?<![\w/])configs/", command):
        monkeypatch.chdir(ROOT / "bundles" / "leaf_seg")  # where the card says to give it
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
        "python -m leaf_seg export",
        "python -m leaf_seg segment",
        "python -m monai.bundle ckpt_export",
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
        ("python -m monai.bundle ckpt_export network_def --ckpt_fil models/model.pt", "ckpt_export has no --ckpt_fil"),
        ("python -m monai.bundle onnx_export network_def --ckpt_file models/modell.pt", "no models/modell.pt"),
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
