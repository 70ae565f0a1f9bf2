"""Writes what a run was made with, when it starts."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events

from leaf_seg.data.files import ensure_writable_folder
from leaf_seg.overrides import command_line_config
from leaf_seg.tracking.manifest import new_session, write_manifest
from leaf_seg.tracking.run_folder import CONFIG_NAME
from leaf_seg.writers import replacing

logger = logging.getLogger(__name__)


class RunManifest:
    """Ignite handler that writes ``manifest.json`` and, where the command line names config files, the executed config.

    Args:
        folder: of the run.
        seed: of the run.
        device: that computes.
        datalist_sha256: hash of the data split.
    """

    def __init__(
        self, folder: str | os.PathLike[str], seed: int, device: torch.device, datalist_sha256: str | None = None
    ) -> None:
        self.folder = Path(folder)
        self.seed = seed
        self.device = device
        self.datalist_sha256 = datalist_sha256

    def attach(self, engine: Engine) -> None:
        """Attach to an engine, before what reads the manifest."""
        if not dist.is_initialized() or dist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Write both files."""
        ensure_writable_folder(self.folder)
        config = command_line_config()
        if config is not None:
            _tell_changes(self.folder / CONFIG_NAME, config)
            with replacing(self.folder / CONFIG_NAME) as temporary:
                temporary.write_text(json.dumps(config, indent=4) + "\n")
        write_manifest(self.folder, new_session(self.seed, self.device, self.datalist_sha256))


def _tell_changes(file: Path, config: dict[str, Any]) -> None:
    """Warn of settings that a former session in the folder had otherwise."""
    if not file.exists():
        return
    try:
        former = json.loads(file.read_text())
    except ValueError:
        return
    new = json.loads(json.dumps(config))
    changes = [
        f"{key}: {former.get(key)!r} before, {new.get(key)!r} now"
        for key in sorted((former.keys() | new.keys()) - {"resume", "overwrite"})
        if former.get(key) != new.get(key) and not isinstance(new.get(key), dict)
    ]
    if changes:
        logger.warning("Settings differ from those of the former session in this folder: %s.", "; ".join(changes))
