"""How the package is built: who imports whom, how long files and functions are, what docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bundles" / "leaf_seg" / "leaf_seg"
PAGE = (ROOT / "docs" / "architecture.md").read_text()

# A room imports only from those before it.
ROOMS = (
    *(
        "runtime",
        "image_io",
        "data",
        "transforms",
        "visual",
        "dataset_check",
        "diffusion",
        "networks",
        "losses",
        "weights",
    ),
    *("distillation", "metrics", "export", "inference", "engines", "handlers", "tracking", "ablation"),
)
FREE = ("__init__", "__main__", "calibrate_command", "segment_command", "moved")  # above the rooms; a bare table
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def against_the_arrows(source: str, room: str) -> list[str]:
    """Imports of a module that its room may not have."""
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "moved"}
    return [name for name in imported(source) if name != "leaf_seg" and name.split(".")[1] not in allowed]


def imported(source: str) -> Iterator[str]:
    """Modules of leaf_seg that a module imports, wherever it does; "leaf_seg" itself has the version."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "leaf_seg")
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "leaf_seg.(relative)"  # from nowhere: imports are written in full
        elif isinstance(node, ast.ImportFrom) and node.module == "leaf_seg":
            yield from (f"leaf_seg.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("leaf_seg."):
            yield str(node.module)


def test_every_module_is_in_a_room() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ROOMS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(FREE)


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.parent != PACKAGE], ids=lambda m: str(m.relative_to(PACKAGE))
)
def test_imports_go_one_way(module: Path) -> None:
    assert not against_the_arrows(module.read_text(), module.relative_to(PACKAGE).parts[0])


@pytest.mark.parametrize(
    ("statement", "room"),
    [
        ("from leaf_seg.engines import BundleTrainer", "networks"),
        ("import leaf_seg.tracking.mlflow_run", "handlers"),
        ("def f():\n    from leaf_seg import inference", "transforms"),
        ("from leaf_seg import load", "weights"),
        ("from ..engines import BundleTrainer", "networks"),
    ],
)
def test_an_import_against_the_arrows_is_found(statement: str, room: str) -> None:
    assert against_the_arrows(statement, room)
    assert not against_the_arrows("from leaf_seg.runtime.errors import InputError", room)


def test_the_package_knows_no_label_server() -> None:
    assert not [module for module in MODULES if re.search(r"^\s*(import|from) monailabel", module.read_text(), re.M)]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_sizes(module: Path) -> None:
    source = module.read_text()
    assert len(source.splitlines()) <= 300
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    lengths = [(function.name, (function.end_lineno or 0) - function.lineno + 1) for function in functions]
    assert not [(name, length) for name, length in lengths if length > 55]


def test_the_page_lists_the_rooms_in_their_order() -> None:
    found = re.findall(r"^        (\w+)/  +\S", PAGE, re.MULTILINE)
    assert tuple(found) == ROOMS


def test_the_page_names_what_there_is() -> None:
    """Files, and what has a capital letter: classes and dictionaries."""
    marked = {name for name in re.findall(r"`([\w./]+)`", PAGE) if "NAME" not in name}
    homes = (ROOT, PACKAGE.parent, PACKAGE, PACKAGE.parent / "configs", PACKAGE.parent / "configs" / "baselines")
    files = {name for name in marked if name.endswith((".py", ".json")) or name.startswith("tests/")}
    assert len(files) > 15
    assert not {name for name in files if not any((home / name).exists() for home in homes)} - {"config.json"}
    sources = "\n".join(module.read_text() for module in [*MODULES, *(ROOT / "tests").rglob("test_*.py")])
    things = {name for name in marked if re.fullmatch(r"[A-Z]\w+", name)}
    assert len(things) > 10
    assert not {name for name in things if not re.search(rf"\bclass {name}\b|^{name}\b", sources, re.MULTILINE)}


def test_the_engines_know_no_method() -> None:
    """A method is parts that a config names: no engine asks which it is."""
    overlays = [
        file for kind in ("methods", "baselines") for file in (PACKAGE.parent / "configs" / kind).glob("*.json")
    ]
    names = {name for file in overlays for name in (file.stem, file.stem.replace("_", ""))}
    assert len(names) > 10
    for module in (PACKAGE / "engines").glob("*.py"):
        words = set(re.findall(r"[a-z_]+", module.read_text().lower()))
        assert not names & words, module
