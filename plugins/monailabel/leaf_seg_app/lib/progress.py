"""How far a training is, for the bars in 3D Slicer."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
from ignite.engine import Engine, Events

from leaf_seg.runtime.files import replacing


def read_stats(file: Path, is_pending: bool) -> dict[str, Any]:
    """What is to be shown of the training that wrote last: one that is running or has ended well.

    Args:
        file: of :class:`TrainingStats`.
        is_pending: whether a training runs or waits; then nothing is shown of one that has ended.

    Returns:
        {} where there is nothing to show, such as of a training that failed or was killed.
    """
    if not file.exists():
        return {}
    stats = json.loads(file.read_text())
    process, started = stats.pop("process", None), stats.pop("started", None)
    if "total_time" in stats:
        return {} if is_pending and not _is_alive(process, started) else stats
    return stats if _is_alive(process, started) else {}


def add_to_stats(file: Path, **more: Any) -> None:
    """Add to what the training that is about to end has written."""
    stats = {**json.loads(file.read_text()), **more}
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(stats))


def _is_alive(process: int | None, started: float | None) -> bool:
    """Whether the process is there, and is not another one that has its number now."""
    try:
        return process is not None and psutil.Process(process).create_time() == started
    except psutil.NoSuchProcess:
        return False


class TrainingStats:
    """Ignite handler that keeps epoch, number of epochs and best metric in a file.

    3D Slicer asks every five seconds, through the server, for "epoch", "total_epochs" and "best_metric"; "total_time",
    in seconds, tells it that the training has ended.

    Args:
        file: JSON, replaced at each epoch and validation.
        validator: the training's evaluator, whose best key metric is shown.
    """

    def __init__(self, file: Path, validator: Engine) -> None:
        self.file = file
        self.validator = validator
        self._started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self._write, engine)
        engine.add_event_handler(Events.COMPLETED, self._finish, engine)

    def _finish(self, trainer: Engine) -> None:
        self._write(trainer, total_time=round(time.monotonic() - self._started, 1))

    def _write(self, trainer: Engine, **more: float) -> None:
        best: Any = getattr(self.validator.state, "best_metric", 0)
        stats = {
            "epoch": trainer.state.epoch,
            "total_epochs": trainer.state.max_epochs,
            "best_metric": max(float(best), 0.0),  # MONAI begins with -1
            "process": os.getpid(),
            "started": psutil.Process().create_time(),
            **more,
        }
        with replacing(self.file) as temporary:
            temporary.write_text(json.dumps(stats))
