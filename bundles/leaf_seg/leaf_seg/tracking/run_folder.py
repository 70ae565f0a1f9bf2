"""The folder of a training: what is in it, and who may write there."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from leaf_seg.dataset_check.training_data import TRAINING_DATA_NAME
from leaf_seg.handlers.case_report import remove_report
from leaf_seg.runtime.claim import CLAIM_NAMES, claim_folder, release_folder
from leaf_seg.runtime.distributed import is_rank_zero, once
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, remove_unfinished, writing
from leaf_seg.runtime.mlflow_folder import STORE_NAME, local_store
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.values import parse_bool
from leaf_seg.weights import CheckpointFolder
from leaf_seg.weights.checkpoint_folder import LAST_NAME, PREVIOUS_NAME
from leaf_seg.weights.mlflow_source import TRACKING_URI, is_mlflow_model
from leaf_seg.weights.model_folder import MODEL_CONFIG_NAME, MODEL_WEIGHTS_NAME

logger = logging.getLogger(__name__)

CHECKPOINTS_NAME = "checkpoints"
EXECUTED_CONFIG_NAME = "executed_config.json"
CURVES_NAME = "curves.png"
LOG_NAME = "train.log"
LOSSES_NAME = "losses.csv"
MANIFEST_NAME = "manifest.json"
METRICS_NAME = "metrics.csv"
OVERLAYS_NAME = "overlays"
EVALUATION_NAME = "evaluation"
_RECORDS = (
    EXECUTED_CONFIG_NAME,
    CURVES_NAME,
    LOSSES_NAME,
    MANIFEST_NAME,
    METRICS_NAME,
    TRAINING_DATA_NAME,
)  # of a training, besides its model


def prepare_run_folder(
    folder: str | os.PathLike[str], resume: bool | str = False, overwrite: bool | str = False
) -> Path:
    """Make sure that training harms nothing in a folder, claim it, and begin or continue its log file.

    From then on no other training can have the folder, until :func:`~leaf_seg.tracking.train` or the process ends. What
    a training that was killed has left half-written is removed. One of several processes does it for all.

    Args:
        folder: of the training; made where needed.
        resume: the training in it is to be continued; an empty folder is one whose training has not come far.
        overwrite: a training in it may be replaced, by :func:`clear_run_folder`.

    Raises:
        InputError: When the folder holds a training and neither is set, when a model in it has no checkpoint to resume
            from, when both are set, when another training is at work in the folder, or when it cannot be written to.
    """
    return once(partial(_prepare, folder, parse_bool(resume, "resume"), parse_bool(overwrite, "overwrite")))


def _prepare(folder: str | os.PathLike[str], resume: bool, overwrite: bool) -> Path:
    if resume and overwrite:
        raise InputError("resume and overwrite are both set: choose one, to continue the training or to replace it.")
    path = ensure_writable_folder(folder)
    _check_may_train(path, resume, overwrite)  # before there is a trace of this command
    claim_folder(path)
    try:
        _check_may_train(path, resume, overwrite)
        for part in (path, path / CHECKPOINTS_NAME, path / OVERLAYS_NAME):
            remove_unfinished(part)
        _remove_unfinished_store(path / STORE_NAME)
    except BaseException:
        release_folder(path)
        raise
    _log_to(path / LOG_NAME)
    return path


def _check_may_train(path: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to harm a training, and to resume where there is only a model."""
    _check_kinds(path)
    if resume and not checkpoints_of(path).exist():
        if (path / MODEL_WEIGHTS_NAME).exists():
            raise InputError(
                f"{path.resolve()} holds a trained model ({MODEL_WEIGHTS_NAME}) but no checkpoint in "
                f"{CHECKPOINTS_NAME}/ to resume from. Restore the checkpoint, or train into another --output_dir."
            )
        logger.warning("There is nothing to resume in %s: training begins at the beginning.", path.resolve())
    if not (resume or overwrite):
        check_unoccupied(path)


def _check_kinds(path: Path) -> None:
    """Refuse something else in the place of a file or folder of a training: to open a pipe would wait for ever."""
    checkpoints = (f"{CHECKPOINTS_NAME}/{LAST_NAME}", f"{CHECKPOINTS_NAME}/{PREVIOUS_NAME}")
    model = (MODEL_WEIGHTS_NAME, MODEL_CONFIG_NAME)
    expected = dict.fromkeys((CHECKPOINTS_NAME, OVERLAYS_NAME), FOLDER)
    expected |= dict.fromkeys((*CLAIM_NAMES, LOG_NAME, STORE_NAME, *_RECORDS, *model, *checkpoints), FILE)
    for name, kind in expected.items():
        found = kind_of(path / name)
        if found not in (kind, "does not exist"):
            found = f"is {found}" if found in (FILE, FOLDER) else found
            raise InputError(
                f"{path.resolve() / name} {found}; expected {kind} of a training there, or nothing. Move it away, or "
                "choose another --output_dir."
            )


def prepare_empty_folder(folder: str | os.PathLike[str], overwrite: bool | str = False) -> Path:
    """Make sure that a training without checkpoints harms nothing in a folder, and claim it.

    Args:
        folder: made where needed.
        overwrite: what is in it may be replaced.

    Raises:
        InputError: When the folder holds a training or a model and ``overwrite`` is not set, when another training is
            at work in it, or when it cannot be written to.
    """
    may_replace = parse_bool(overwrite, "overwrite")
    path = ensure_writable_folder(folder)
    _check_kinds(path)
    if not may_replace:
        check_unoccupied(path)
    claim_folder(path)
    remove_unfinished(path)
    return path


def checkpoints_of(folder: str | os.PathLike[str]) -> CheckpointFolder:
    """The checkpoints in the folder of a training."""
    return CheckpointFolder(Path(folder) / CHECKPOINTS_NAME)


def store_of(model_dir: str | os.PathLike[str]) -> str:
    """URI of the MLflow store in the folder of a model; of a model that is in MLflow the one that it is in."""
    return os.environ.get(TRACKING_URI, "") if is_mlflow_model(model_dir) else local_store(model_dir)


def check_unoccupied(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder with files of a training or a model, of whatever kind; it need not exist.

    Raises:
        InputError: Names the first such file.
    """
    names = (MODEL_WEIGHTS_NAME, f"{CHECKPOINTS_NAME}/{LAST_NAME}", f"{CHECKPOINTS_NAME}/{PREVIOUS_NAME}", *_RECORDS)
    found = [name for name in (*names, MODEL_CONFIG_NAME) if (Path(folder) / name).exists()]
    if found:
        raise InputError(
            f"{Path(folder).resolve()} already holds a training or a model ({found[0]}); expected a folder without "
            "one. Choose another --output_dir, continue a training that was stopped with --resume true, or replace it "
            "with --overwrite true."
        )


def clear_run_folder(folder: str | os.PathLike[str]) -> None:
    """Remove what a former training recorded and the tables of its evaluations.

    Its model and log stay until the new ones take their place.

    For right before the new training: until then the command may yet turn out to be wrong.
    """
    if not is_rank_zero():
        return
    path = Path(folder)
    checkpoints_of(path).clear()
    for former in (*(path / name for name in _RECORDS), *(path / OVERLAYS_NAME).glob("*_epoch_*.png")):
        with writing(former):
            former.unlink(missing_ok=True)
    for report in sorted((path / EVALUATION_NAME).glob("*/")):
        if remove_report(report):
            logger.warning(
                "Removed the tables of the former model's evaluation in %s; label maps there are the former model's, "
                "too.",
                report,
            )


def _remove_unfinished_store(file: Path) -> None:
    """Remove a MLflow store that has no experiment, not even MLflow's own first one.

    MLflow makes its tables in many steps; a process that is killed between them leaves a store that cannot be opened.

    Raises:
        InputError: When the file is no SQLite data base.
    """
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file)) as connection:
            (num_experiments,) = connection.execute("SELECT COUNT(*) FROM experiments").fetchone()
    except sqlite3.DatabaseError as error:
        if "no such table" not in str(error):
            raise InputError(
                f"{file} cannot be read as the SQLite store of MLflow ({error}); expected one, or no file. Move it "
                "away, or end the program that is using it."
            ) from error
        num_experiments = 0
    if not num_experiments:
        file.unlink()


class _LogFile(logging.handlers.WatchedFileHandler):
    """A log that must not cost the training: what does not fit on the disk is on the screen."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; also where the folder has gone, when logging itself would raise."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # logging's name
        """Pass over it; logging would print a traceback for every line."""


def _log_to(file: Path) -> None:
    """Also write what is logged from now on to a file, unless this process does already."""
    root = logging.getLogger()
    files = [handler.baseFilename for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    if os.path.abspath(file) not in files:
        handler = _LogFile(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)


def end_log(folder: str | os.PathLike[str]) -> None:
    """Let what is logged from now on no longer go to the log file of a training; before its folder is moved."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == os.path.abspath(
            Path(folder) / LOG_NAME
        ):
            root.removeHandler(handler)
            handler.close()
