"""What processes that were killed have left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove files and folders named ``<prefix><process id>`` or ``<prefix><process id>_...`` whose process is gone."""
    for path in folder.glob(f"{prefix}*"):
        process = path.name.removeprefix(prefix).split("_")[0]
        if not process.isdecimal() or (int(process) != os.getpid() and psutil.pid_exists(int(process))):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # another process may be at it, too
        else:
            path.unlink(missing_ok=True)
