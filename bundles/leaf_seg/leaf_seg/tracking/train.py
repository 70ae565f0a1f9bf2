"""Runs a training in its folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from leaf_seg.engines import BundleTrainer
from leaf_seg.runtime.claim import release_folder
from leaf_seg.runtime.distributed import once, wait_for_all
from leaf_seg.runtime.text import shortened
from leaf_seg.runtime.values import parse_bool
from leaf_seg.tracking.run_folder import clear_run_folder
from leaf_seg.weights import CheckpointFolder

logger = logging.getLogger(__name__)


def train(
    trainer: BundleTrainer, checkpoints: CheckpointFolder, folder: str | os.PathLike[str], overwrite: bool | str = False
) -> None:
    """Train, from the last checkpoint where there is one.

    Args:
        trainer: built: a command that is wrong has shown so by now.
        checkpoints: of the folder.
        folder: of the training; :func:`~leaf_seg.tracking.prepare_run_folder` has prepared it.
        overwrite: remove what a former training in it has recorded.

    Raises:
        InputError: When the checkpoint is not one of this training.
    """
    try:
        if parse_bool(overwrite, "overwrite"):
            clear_run_folder(folder)
        wait_for_all()
        state = _loaded(checkpoints)
        trainer.restore(state)
        if state is not None:
            _tell_changed_files(trainer, checkpoints.folder)
        wait_for_all()  # from here on there are other checkpoints
        trainer.run()
    finally:
        release_folder(Path(folder))


def _loaded(checkpoints: CheckpointFolder) -> dict[str, Any] | None:
    """The last checkpoint; of several processes the first one loads it first, and moves a damaged one aside."""
    loaded: list[dict[str, Any] | None] = []
    once(lambda: loaded.append(checkpoints.load()))
    return loaded[0] if loaded else checkpoints.load()


def _tell_changed_files(trainer: BundleTrainer, folder: Path) -> None:
    """Warn of files of the training data that have been written since the checkpoint: the hash is of their names."""
    saved = max(file.stat().st_mtime for file in folder.glob("*.pt"))
    cases = getattr(getattr(trainer.data_loader, "dataset", None), "data", ())
    files = [str(file) for case in cases for file in case.values()]
    changed = [file for file in files if os.path.exists(file) and os.path.getmtime(file) > saved]
    if changed:
        logger.warning(
            "%d files of the training data were written after the checkpoint (%s): the training goes on with them.",
            len(changed),
            shortened(changed, 3),
        )
