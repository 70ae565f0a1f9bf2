"""The bundle copied alone, and the wheel: both work from any folder, without a clone or an installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "leaf_seg"
FOLDERS = ("configs", "docs", "leaf_seg", "models")
ROOT_KEYS = ("bundle_root", "config_dirs", "root", "python_path")
Run = Callable[..., subprocess.CompletedProcess[str]]

FROM_PYTHON = """
import sys, torch
from monai.bundle import create_workflow, load, run_workflow
bundle, picture = sys.argv[1:]
image = torch.rand(2, 3, 80, 80)
with torch.no_grad():
    shipped = load("leaf_seg", bundle_dir=bundle + "/..", device="cpu").eval()(image)
    other = load("leaf_seg", bundle_dir=bundle + "/..", device="cpu", workflow_type="inference").eval()(image)
assert shipped.shape == (2, 3, 80, 80) and torch.equal(shipped, other)
config = {"config_file": bundle + "/configs/inference.json", "workflow_type": "inference", "dataset_dir": picture}
workflow = create_workflow(output_dir="created", **config)
assert workflow.check_properties() == []
workflow.run()
workflow.finalize()
run_workflow(output_dir="run", **config)
print("code of", sys.modules["leaf_seg"].__file__)
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle as ``models/leaf_seg``, and a picture."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in FOLDERS:
        shutil.copytree(BUNDLE / name, folder / "models" / "leaf_seg" / name, ignore=shutil.ignore_patterns("__pyc*"))
    (folder / "elsewhere").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "elsewhere" / "picture.png")
    return folder


def run(*words: object, at: Path, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Python with the packages of this one but leaf_seg: what stands in site-packages as .pth files is not read."""
    path = os.pathsep.join([*([str(packages)] if packages else []), sysconfig.get_path("purelib")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-S", *map(str, words)]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, timeout=300)


def told(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_every_base_config_finds_its_bundle_in_the_same_way() -> None:
    configs = [json.loads((BUNDLE / "configs" / f"{name}.json").read_text()) for name in ("train", "inference")]
    configs.append(json.loads((BUNDLE / "configs" / "train_autoencoder.json").read_text()))
    assert len({json.dumps([config[key] for key in ROOT_KEYS]) for config in configs}) == 1
    for path in (BUNDLE / "configs").rglob("*.json"):
        text = path.read_text()
        assert "import leaf_seg" not in text, "MONAI resolves it before the folder is known"
        assert "@bundle_root +" not in text, "which is a dot until it is found"


@pytest.mark.nightly
def test_from_python(copied: Path) -> None:
    at = copied / "elsewhere"
    assert run("-c", "import leaf_seg", at=at).returncode == 1
    done = run("-c", FROM_PYTHON, "../models/leaf_seg", "picture.png", at=at)
    assert done.returncode == 0, told(done)[-3000:]
    assert f"code of {copied}/models/leaf_seg/leaf_seg/__init__.py" in done.stdout
    for folder in ("created", "run"):
        assert Image.open(at / folder / "picture.png").size == (48, 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "config", "root"),
    [
        ("elsewhere", "../models/leaf_seg/configs/inference.json", None),
        pytest.param("models/leaf_seg", "configs/inference.json", ".", marks=pytest.mark.nightly),
        pytest.param("models/leaf_seg/configs", "inference.json", None, marks=pytest.mark.nightly),
    ],
)
def test_run_from_any_folder(copied: Path, tmp_path: Path, at: str, config: str, root: str | None) -> None:
    options: list[Any] = ["--dataset_dir", copied / "elsewhere" / "picture.png", "--output_dir", tmp_path / "out"]
    if root is not None:
        options += ["--bundle_root", root.format(copied=copied)]
    words = ["-m", "monai.bundle", "run", "inference", "--config_file", config.format(copied=copied), *options]
    done = run(*words, at=copied / at)
    assert done.returncode == 0, told(done)[-3000:]
    assert Image.open(tmp_path / "out" / "picture.png").size == (48, 40)
    if at == "elsewhere":
        again = ["--config_file", tmp_path / "out" / "executed_config.json", "--output_dir", tmp_path / "again"]
        done = run("-m", "monai.bundle", "run", "inference", *again, at=copied / at)
        assert done.returncode == 0, told(done)[-3000:]
        assert (tmp_path / "again" / "picture.png").read_bytes() == (tmp_path / "out" / "picture.png").read_bytes()


@pytest.mark.nightly
def test_a_root_that_cannot_be_found(copied: Path, tmp_path: Path) -> None:
    config = shutil.copy(copied / "models" / "leaf_seg" / "configs" / "inference.json", tmp_path / "inference.json")
    done = run("-m", "monai.bundle", "run", "inference", "--config_file", config, at=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in told(done)
    line = "leaf_seg: no bundle in .; expected the folder that holds configs/metadata.json: give it with"
    assert line in done.stderr
    assert "--bundle_root" in done.stderr


@pytest.mark.slow
def test_a_wheel_segments_without_a_clone(copied: Path, tmp_path: Path) -> None:
    """Built from a copy, because setuptools writes into the folder that it builds from."""
    source = tmp_path / "source"
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        target = source / "bundles" / "leaf_seg" / name
        shutil.copytree(BUNDLE / name, target, ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copy(BUNDLE / "LICENSE", source / "bundles" / "leaf_seg")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site"]
    install = [sys.executable, "-m", "pip", "install", *map(str, options), str(source)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    shutil.rmtree(source)

    picture = copied / "elsewhere" / "picture.png"
    done = run("-m", "leaf_seg", "segment", picture, "out", at=tmp_path, packages=tmp_path / "site")
    assert done.returncode == 0, told(done)[-3000:]
    assert Image.open(tmp_path / "out" / "picture.png").size == (48, 40)
    done = run("-m", "leaf_seg", "bundle", at=tmp_path, packages=tmp_path / "site")
    assert done.stdout.strip() == str(tmp_path / "site" / "leaf_seg" / "bundle")
    config = Path(done.stdout.strip()) / "configs" / "inference.json"
    assert config.is_file()


@pytest.mark.slow
def test_what_the_zoo_checks_in_files() -> None:
    """The others take minutes: ``make zoo-check``."""
    checks = ["files", "not_installed", "versions", "readme", "style"]
    words = [sys.executable, str(ROOT / "scripts" / "zoo_check.py"), "--only", *checks]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, told(done)
    assert done.stdout.count("pass  ") == len(checks)
