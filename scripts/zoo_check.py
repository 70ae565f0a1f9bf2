"""What the Model Zoo's continuous integration checks, without a network, on a copy of the bundle.

The bundle is laid out as in the zoo by ``scripts/package_zoo.sh``, and the checks run in an environment that has the
packages of this one, but not leaf_seg.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG, META, MODEL = "configs/inference.json", "configs/metadata.json", "models/model.pt"
REQUIRED = ("LICENSE", META, CONFIG, "configs/train.json", "configs/logging.conf", MODEL, "docs/README.md")
MOST_BYTES = 25 * 1000**2
SECTIONS = (
    "Execute training",
    "Override the `train` config",
    "multi-GPU training",
    "execute evaluation",
    "multi-GPU evaluation",
    "Execute inference",
    "multi-GPU inference",
    "TensorRT",
    "TorchScript",
    "ONNX",
)
INSIDE = ("load", "properties", "references", "tracking", "shape_from_python", "torchscript_from_python")
Check = Callable[["Zoo"], None]


@dataclass(frozen=True)
class Zoo:
    """A copy of the bundle, laid out as in the zoo.

    Attributes:
        root: folder with ``models/leaf_seg`` and ``ci/unit_tests``.
        python: of the environment without leaf_seg.
        schema: of the metadata; None lets MONAI fetch it.
    """

    root: Path
    python: Path
    schema: Path | None

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.root / "models" / "leaf_seg"

    def run(self, *words: str | Path, at: Path | None = None) -> None:
        """Run Python with these words, in the bundle's folder unless told otherwise."""
        _run([self.python, *words], at or self.bundle)

    def metadata(self) -> dict[str, object]:
        """Content of metadata.json."""
        return json.loads((self.bundle / META).read_text())


def main() -> int:
    """Run the checks, and say which pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schema", type=Path, help="file of the metadata's schema; without, MONAI downloads it")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), metavar="CHECK", help=", ".join(CHECKS))
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="leaf_seg_zoo_") as folder:
        zoo = _lay_out(Path(folder), options.schema)
        for name in options.only or CHECKS:
            started = time.monotonic()
            try:
                CHECKS[name](zoo)
                said, reason = "pass", ""
            except CheckError as error:
                said, reason = "FAIL", f"\n{error}"
                failures += 1
            print(f"{said}  {name} ({time.monotonic() - started:.0f} s){reason}", flush=True)  # noqa: T201
    print(f"{len(options.only or CHECKS) - failures} checks pass, {failures} fail")  # noqa: T201
    return 1 if failures else 0


class CheckError(Exception):
    """What a check has found."""


def _lay_out(folder: Path, schema: Path | None) -> Zoo:
    _run([ROOT / "scripts" / "package_zoo.sh", folder / "zoo"], ROOT)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    own = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    Path(own, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")  # not the .pth files that lie there
    return Zoo(folder / "zoo", python, schema and schema.resolve())


def _run(words: Sequence[str | Path], at: Path) -> None:
    done = subprocess.run(list(map(str, words)), cwd=at, capture_output=True, text=True)
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, words))}\n{(done.stdout + done.stderr)[-3000:]}")


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


def _files(zoo: Zoo) -> None:
    for name in REQUIRED:
        _expect((zoo.bundle / name).is_file(), f"{name} is missing")
    for path in filter(Path.is_file, zoo.bundle.rglob("*")):
        _expect(path.stat().st_size <= MOST_BYTES, f"{path} is larger than 25 MB")
        if path.suffix in (".json", ".conf", ".md", ".py"):
            text = path.read_text()
            _expect(not any(home in text for home in ("/home/", "/root/", "/Users/")), f"{path} has a path of somebody")
    _expect(not list(zoo.bundle.glob("large_files.*")), "large_files: every entry would need an url")


def _not_installed(zoo: Zoo) -> None:
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('leaf_seg') is not None)"
    zoo.run("-c", find, at=zoo.root)


def _versions(zoo: Zoo) -> None:
    metadata = zoo.metadata()
    changelog, required = metadata["changelog"], metadata["required_packages_version"]
    assert isinstance(changelog, dict)
    assert isinstance(required, dict)
    _expect(metadata["version"] in changelog, "the version has no entry in the changelog")
    _expect("optional_packages_version" not in metadata, "optional_packages_version would replace the required ones")
    named = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    for name, version in (required | {name: metadata[key] for name, key in named.items()}).items():
        installed = importlib.metadata.version(name).split("+")[0]
        _expect(installed == version, f"{name}: {version} in the metadata, {installed} installed")


def _schema(zoo: Zoo) -> None:
    copy = zoo.bundle / "eval" / "schema.json"
    if zoo.schema is not None:
        copy.parent.mkdir()
        shutil.copy(zoo.schema, copy)
    zoo.run("-m", "monai.bundle", "verify_metadata", "--meta_file", META, "--filepath", copy)


def _shape(zoo: Zoo) -> None:
    zoo.run("-m", "monai.bundle", "verify_net_in_out", "network_def", "--meta_file", META, "--config_file", CONFIG)


def _torchscript(zoo: Zoo) -> None:
    files = ("--ckpt_file", MODEL, "--meta_file", META, "--config_file", CONFIG)
    zoo.run("-m", "monai.bundle", "ckpt_export", "network_def", "--filepath", "models/model.ts", *files)
    zoo.run("-c", "import torch; torch.jit.load('models/model.ts')(torch.rand(3, 3, 80, 80))")


def _readme(zoo: Zoo) -> None:
    text = (zoo.bundle / "docs" / "README.md").read_text()
    missing = [section for section in SECTIONS if section not in text]
    _expect(not missing, f"docs/README.md lacks: {', '.join(missing)}")


def _style(zoo: Zoo) -> None:
    width = ("--line-length", "120")
    for folder in (zoo.bundle, zoo.root / "ci" / "unit_tests"):
        _run([sys.executable, "-m", "isort", "--check", "--profile", "black", *width, "."], folder)
        _run([sys.executable, "-m", "black", "--check", *width, "--target-version", "py39", "."], folder)
        # what black writes is left out
        _run([sys.executable, "-m", "flake8", "--max-line-length", "120", "--extend-ignore", "E203,W503", "."], folder)


def _unit_tests(zoo: Zoo) -> None:
    zoo.run("ci/unit_tests/test_leaf_seg.py", at=zoo.root)


def _unit_tests_dist(zoo: Zoo) -> None:
    zoo.run("ci/unit_tests/test_leaf_seg_dist.py", at=zoo.root)


def _inside(name: str) -> Check:
    def check(zoo: Zoo) -> None:
        zoo.run(ROOT / "scripts" / "zoo_inside.py", name, at=zoo.root)

    return check


CHECKS: dict[str, Check] = {
    "files": _files,
    "not_installed": _not_installed,
    "versions": _versions,
    "schema": _schema,
    "shape": _shape,
    "torchscript": _torchscript,
    "readme": _readme,
    "style": _style,
    **{name: _inside(name) for name in INSIDE},
    "unit_tests": _unit_tests,
    "unit_tests_dist": _unit_tests_dist,
}

if __name__ == "__main__":
    sys.exit(main())
