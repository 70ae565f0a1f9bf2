"""Runs a training in its folder."""

from __future__ import annotations

import os
from pathlib import Path

from leaf_seg.engines import BundleTrainer
from leaf_seg.runtime.claim import release_folder
from leaf_seg.runtime.values import parse_bool
from leaf_seg.tracking.run_folder import clear_run_folder
from leaf_seg.weights import CheckpointFolder


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
        trainer.restore(checkpoints.load())
        trainer.run()
    finally:
        release_folder(Path(folder))
