"""The name of a prepared case: a hash of all that decides what its slices are."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import leaf_seg
from leaf_seg.data.splits import Case
from leaf_seg.image_io.digest import file_digest
from leaf_seg.image_io.formats import format_of

# Rooms whose code reads, prepares and cuts: a change of any of it is another result until the contrary is shown.
_ROOMS = ("data", "image_io", "transforms")
_LIBRARIES = (
    *("torch", "monai", "numpy", "scipy", "pillow", "nibabel", "itk"),
    *("pydicom", "python-gdcm", "highdicom"),  # of the extra dicom
)


def preparation_identity(settings: Mapping[str, Any]) -> str:
    """SHA-256 over settings, the code, and by what it computes.

    Args:
        settings: plain values, all that decide what is made of the files of a case.
    """
    parts = {"settings": dict(settings), "code": _code_digest(), "versions": _versions(), "machine": _machine()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def case_identity(case: Case, preparation: str) -> str:
    """SHA-256 over the files of a case and what is made of them.

    Args:
        case: with the paths "image" and "label", which may be a list of one for each class; perhaps with "raters", of
            which what is made counts, too.
        preparation: of :func:`preparation_identity`.

    Raises:
        InputError: When a file cannot be read, or is of no known format.
    """
    label = case["label"]
    labels = [_content(file) for file in label] if isinstance(label, (list, tuple)) else _content(label)
    raters = [_content(file) for file in case.get("raters", ())]
    text = json.dumps([preparation, _content(case["image"]), labels, raters])
    return hashlib.sha256(text.encode()).hexdigest()


def _content(path: str) -> list[str]:
    """How a file is read, for which its name may decide, and what is in it."""
    return [format_of(path).name, file_digest(path)]


@cache
def _code_digest() -> str:
    root = Path(leaf_seg.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(file for room in _ROOMS for file in (root / room).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"leaf_seg": leaf_seg.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _machine() -> list[str]:
    """By what it computes; the last bits may differ on another one."""
    return [platform.machine(), torch.backends.cpu.get_cpu_capability()]
