"""Writes what a run was made with, when it starts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.runtime.overrides import command_line_config
from leaf_seg.tracking.manifest import new_session, write_manifest
from leaf_seg.tracking.run_folder import EXECUTED_CONFIG_NAME
from leaf_seg.weights.mlflow_source import is_mlflow_model

logger = logging.getLogger(__name__)

_TOLD = 12  # changed settings that are named
_ONCE = ("resume", "overwrite")  # asked for once: a run repeated from its config must not do it again unasked


class RunManifest:
    """Ignite handler that writes ``manifest.json`` and, where the command line names config files, the executed config.

    Args:
        folder: of the run.
        seed: of the run.
        device: that computes.
        datalist_sha256: hash of the data split.
        model_dir: folder of the model, where the run is one of its evaluation or use.

    Raises:
        InputError: When the folder is the model's, whose own manifest and config would be replaced, or would be within
            a model that is in MLflow.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        seed: int,
        device: torch.device | str,
        datalist_sha256: str | None = None,
        model_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        if model_dir is not None and self.folder.resolve() == Path(model_dir).resolve():
            raise InputError(
                f"The results would be written into the model's own folder {folder}, over its records; expected "
                "another one, such as a folder within it."
            )
        if model_dir is not None and is_mlflow_model(model_dir) and self.folder.is_relative_to(model_dir):
            raise InputError(
                f"The results would be written to {folder}, which is no folder: the model is in MLflow. Name one with "
                "--report_dir."
            )
        self.seed = seed
        self.device = torch.device(device)
        self.datalist_sha256 = datalist_sha256

    def attach(self, engine: Engine) -> None:
        """Attach to an engine, before what reads the manifest and behind what removes a former run's results."""
        if is_rank_zero():
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Write both files."""
        ensure_writable_folder(self.folder)
        config = command_line_config()
        if config is not None:
            config |= {key: False for key in _ONCE if key in config}
            _tell_changes(self.folder / EXECUTED_CONFIG_NAME, config)
            with replacing(self.folder / EXECUTED_CONFIG_NAME) as temporary:
                temporary.write_text(json.dumps(config, indent=4) + "\n")
        write_manifest(self.folder, new_session(self.seed, self.device, self.datalist_sha256))


def _tell_changes(file: Path, config: dict[str, Any]) -> None:
    """Warn of settings that a former session in the folder had otherwise."""
    if not file.exists():
        return
    try:
        former = dict(_leaves(json.loads(file.read_text())))
    except ValueError as error:
        logger.warning("%s cannot be read (%s), so that changed settings are not told; it is replaced.", file, error)
        return
    new = dict(_leaves(json.loads(json.dumps(config))))
    changes = [
        f"{key}: {former.get(key, 'not set')!r} before, {new.get(key, 'not set')!r} now"
        for key in {**former, **new}
        if former.get(key) != new.get(key)
    ]
    changes.sort(key=lambda change: "#" in change.partition(":")[0])  # what a user sets stands at the top of a config
    if changes:
        logger.warning(
            "Settings differ from those of the former session in this folder: %s. A resumed training keeps the "
            "optimiser's own of its checkpoint, such as learning_rate.",
            "; ".join(changes[:_TOLD]) + (f"; and {len(changes) - _TOLD} more" if len(changes) > _TOLD else ""),
        )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config that holds no dictionary, with its key."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}  # as MONAI's keys count
    if not isinstance(value, dict):
        yield key, value
        return
    for name, item in value.items():
        yield from _leaves(item, f"{key}#{name}" if key else name)
