"""What a command imports, in a process of its own: nobody waits for a library that is not needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEAVY = {
    "diffusers",
    "ignite",
    "matplotlib",
    "mlflow",
    "monai",
    "nibabel",
    "numpy",
    "PIL",
    "scipy",
    "torch",
    "transformers",
}
RUN = """
import json, runpy, sys
try:
    runpy.run_module("leaf_seg", run_name="__main__", alter_sys=True)
finally:
    print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""


def modules_of(program: str, *words: str, code: int = 0) -> dict[str, str | None]:
    """Modules that a program has imported when it ends, and their files."""
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    modules: dict[str, str | None] = json.loads(result.stdout.splitlines()[-1])
    return modules


def packages(modules: dict[str, str | None]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    "words",
    [["--help"], *([command, "--help"] for command in ("check", "segment", "info", "convert", "export", "compare"))],
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    assert not packages(modules_of(RUN, *words)) & HEAVY


def test_threads_rest_before_pytorch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the variable when it is loaded."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    program = """
import builtins, os, sys
def look(name, *arguments, whole=builtins.__import__, **options):
    if name == "torch":
        sys.exit(f"policy {os.environ.get('OMP_WAIT_POLICY')}")
    return whole(name, *arguments, **options)
builtins.__import__ = look
from leaf_seg.__main__ import main
main(["segment", sys.argv[1], "nowhere", "--model", "nowhere"])
"""
    image = str(Path(__file__).resolve().parents[1] / "docs" / "mlflow_run.png")
    result = subprocess.run([sys.executable, "-c", program, image], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "policy PASSIVE"


def test_the_package_imports_nothing_heavy() -> None:
    program = "import json, sys, leaf_seg; print(json.dumps(dict.fromkeys(sys.modules)))"
    assert not packages(modules_of(program)) & HEAVY


def test_a_path_that_is_wrong_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    modules = modules_of(RUN, "segment", str(tmp_path / "nowhere"), str(tmp_path), "--model", "m", code=2)
    assert not packages(modules) & HEAVY


def test_comparing_needs_no_network(tmp_path: Path) -> None:
    for name, dice in (("a", 0.5), ("b", 0.75)):
        (tmp_path / name).mkdir()
        rows = [f"{case},organ,{dice},{dice},1,{dice}" for case in ("x", "y", "z")]
        text = "\n".join(["case,class,dice,iou,hd95,surface_dice", *rows])
        (tmp_path / name / "metrics_cases.csv").write_text(text)
    modules = modules_of(RUN, "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert not packages(modules) & (HEAVY - {"numpy", "scipy"})


@pytest.mark.slow
def test_segmenting_needs_no_engine_and_no_tracker(tmp_path: Path) -> None:
    """MONAI imports much by itself (mlflow, Ignite, matplotlib); what counts is what leaf_seg asks for."""
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    words = ["segment", str(tmp_path / "a.png"), str(tmp_path / "out"), "--model", str(tmp_path), "--no-overlays"]
    modules = modules_of(RUN, *words, code=2)  # there is no model
    own = {name: file for name, file in modules.items() if name.startswith("leaf_seg.") and file}
    assert "leaf_seg.inference.segmenter" in own
    rooms = {name.split(".")[1] for name in own}
    assert not rooms & {"ablation", "distillation", "engines", "handlers", "losses", "tracking", "visual"}
    for name, file in own.items():
        assert not _imports(Path(file)) & {"ignite", "matplotlib", "mlflow", "transformers"}, name


def _imports(file: Path) -> set[str]:
    """Packages that a module imports at once, not within a function."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
