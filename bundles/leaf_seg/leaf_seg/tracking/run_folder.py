"""The folder of a training: what is in it, and who may write there."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from leaf_seg.data.files import ensure_writable_folder
from leaf_seg.errors import InputError
from leaf_seg.weights import CheckpointFolder
from leaf_seg.weights.model_folder import WEIGHTS_NAME

logger = logging.getLogger(__name__)

CHECKPOINTS_NAME = "checkpoints"
CONFIG_NAME = "executed_config.json"
CURVES_NAME = "curves.png"
LOG_NAME = "train.log"
LOSSES_NAME = "losses.csv"
MANIFEST_NAME = "manifest.json"
METRICS_NAME = "metrics.csv"
OVERLAYS_NAME = "overlays"
STORE_NAME = "mlruns.db"


def prepare_run_folder(folder: str | os.PathLike[str], resume: bool = False, overwrite: bool = False) -> Path:
    """Make sure that training harms nothing in a folder, and begin or continue its log file.

    Args:
        folder: of the training; made where needed.
        resume: the training in it is to be continued; an empty folder is one whose training has not come far.
        overwrite: a training in it may be replaced.

    Raises:
        InputError: When the folder holds a training and neither is set, when a model in it has no checkpoint to resume
            from, when both are set, or when the folder cannot be written to.
    """
    if resume and overwrite:
        raise InputError("resume and overwrite are both set: choose one, to continue the training or to replace it.")
    path = ensure_writable_folder(folder)
    checkpoints = CheckpointFolder(path / CHECKPOINTS_NAME)
    has_model = (path / WEIGHTS_NAME).exists()
    if resume and has_model and not checkpoints.exist():
        raise InputError(
            f"{path.resolve()} holds a trained model ({WEIGHTS_NAME}) but no checkpoint in {CHECKPOINTS_NAME}/ to "
            "resume from. Restore the checkpoint, or train into another --output_dir."
        )
    if not (resume or overwrite) and (has_model or checkpoints.exist()):
        what = f"a trained model ({WEIGHTS_NAME})" if has_model else "a training that was stopped"
        raise InputError(
            f"{path.resolve()} already holds {what}; expected a folder without one. Choose another --output_dir, "
            "continue that training with --resume true, or replace it with --overwrite true."
        )
    if not resume:
        _clear(path, checkpoints)
    _remove_empty_store(path / STORE_NAME)
    _log_to(path / LOG_NAME)
    return path


def _clear(path: Path, checkpoints: CheckpointFolder) -> None:
    """Remove what a former training recorded; its model stays until the new one takes its place."""
    checkpoints.clear()
    for name in (CONFIG_NAME, CURVES_NAME, LOG_NAME, LOSSES_NAME, MANIFEST_NAME, METRICS_NAME):
        (path / name).unlink(missing_ok=True)
    for overlay in (path / OVERLAYS_NAME).glob("*_epoch_*.png"):
        overlay.unlink()


def _remove_empty_store(file: Path) -> None:
    """Remove a MLflow store without any run.

    MLflow makes its tables in many steps; a process that is killed between them leaves a store that cannot be opened.
    """
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (num_runs,) = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        num_runs = 0
    if not num_runs:
        file.unlink()


def _log_to(file: Path) -> None:
    """Also write what is logged from now on to a file, unless this process does already."""
    root = logging.getLogger()
    files = [handler.baseFilename for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    if os.path.abspath(file) not in files:
        handler = logging.handlers.WatchedFileHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
