"""What processes that were killed have left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove files and folders named ``<prefix><process id>`` or ``<prefix><process id>_...`` whose process is gone."""
    for path in folder.glob(f"{prefix}*"):
        if psutil.pid_exists(int(path.name.removeprefix(prefix).split("_")[0])):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
