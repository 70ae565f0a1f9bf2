"""Model folders as earlier versions left them, and such that somebody has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leaf_seg.weights.model_config import checksum, write_model_config


def without_checksums(folder: Path) -> Path:
    """The folder as version 0.2.0 and earlier saved it."""
    config = json.loads((folder / "config.json").read_text())
    del config["weights"], config["sha256"]
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    torch.save({"model": torch.load(folder / "model.pt", weights_only=True)}, folder / "model.pt")
    return folder


def sealed_again(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """The folder with a changed configuration, and with checksums that are right for all that is there."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    write_model_config(folder / "model.pt", config, checksum(folder / "model.pt"))
    return folder
