"""What a run was made with: versions, data, seed, machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import leaf_seg
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.tracking.run_folder import MANIFEST_NAME

_PACKAGES = (
    *("torch", "monai", "diffusers", "transformers", "pytorch-ignite", "mlflow", "numpy", "scipy"),
    *("nibabel", "itk", "pillow", "safetensors"),
)


def new_session(seed: int, device: torch.device, datalist_sha256: str | None) -> dict[str, Any]:
    """Describe this process and what it works with, ready for JSON.

    Args:
        seed: of the run.
        device: that computes.
        datalist_sha256: hash of the data split; None where there is no split.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "seed": seed,
        "datalist_sha256": datalist_sha256,
        "git": _git_revision(),
        "versions": {"leaf_seg": leaf_seg.__version__, "python": platform.python_version()} | _versions(),
        "machine": _machine(device),
    }


def write_manifest(folder: Path, session: dict[str, Any]) -> dict[str, Any]:
    """Write ``manifest.json``: the run's own name, and one entry for each session that worked on it.

    A manifest that is there is continued.

    Args:
        folder: of the run.
        session: of :func:`new_session`.

    Returns:
        The manifest, {"run": hexadecimal name, "sessions": [...]}.

    Raises:
        InputError: When the manifest that is there cannot be read.
    """
    manifest = read_manifest(folder) or {"run": uuid.uuid4().hex, "sessions": []}
    manifest["sessions"].append(session)
    with replacing(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The manifest of a run's folder; None where there is none.

    Raises:
        InputError: When it cannot be read.
    """
    file = Path(folder) / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        manifest = json.loads(file.read_text())
        run, sessions = str(manifest["run"]), list(manifest["sessions"])
        if not re.fullmatch("[0-9a-f]{32}", run):  # it becomes part of a query
            raise ValueError(f"its run is {run[:40]!r}, and not 32 hexadecimal digits")
        return {"run": run, "sessions": sessions}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file} is no manifest of a run ({error}); restore it, or remove it to begin anew."
        ) from error


def _versions() -> dict[str, str]:
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _git_revision() -> str | None:
    """Revision of the checkout that the package runs from, with "-dirty" after changes; None outside of git."""
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")  # not the repository that an environment happens to lie in
        return _git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    folder = Path(leaf_seg.__file__).parent
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return result.stdout.strip()


def _machine(device: torch.device) -> dict[str, Any]:
    machine = {
        "host": platform.node(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        machine |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return machine
