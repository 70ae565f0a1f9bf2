"""Losses and validation metrics of a training as tables and curves."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.tracking.rows import step_row, validation_row
from leaf_seg.tracking.run_folder import CURVES_NAME, LOSSES_NAME, METRICS_NAME
from leaf_seg.visual.curves import save_curves

Row = dict[str, Any]


class TrainingLog:
    """Ignite handler that writes ``losses.csv`` (each step), ``metrics.csv`` (each validation) and ``curves.png``.

    Both tables begin with step, epoch and seconds of training so far. A resumed training goes on behind the step that
    it resumes from: rows that the stopped one wrote after that are taken back.

    Args:
        folder: of the run.
        validator: the training's evaluator.
    """

    def __init__(self, folder: str | os.PathLike[str], validator: Evaluator) -> None:
        self.folder = Path(folder)
        self.validator = validator
        self._losses = _Table(self.folder / LOSSES_NAME)
        self._metrics = _Table(self.folder / METRICS_NAME)
        self._seconds = 0.0  # of former sessions
        self._started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer, before a TrainingCheckpoint."""
        if not is_rank_zero():
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._log_step)
        self.validator.add_event_handler(Events.COMPLETED, self._log_validation, engine)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        ensure_writable_folder(self.folder)
        self._started = time.monotonic()
        for table in (self._losses, self._metrics):
            table.keep_until(engine.state.iteration)

    def _log_step(self, engine: Engine) -> None:
        self._losses.append(self._place(engine) | step_row(engine))

    def _log_validation(self, validator: Engine, trainer: Engine) -> None:
        self._metrics.keep_until(trainer.state.iteration - 1)  # a resumed training may repeat its last validation
        self._metrics.append(self._place(trainer) | validation_row(validator))
        self._draw()

    def _place(self, trainer: Engine) -> Row:
        return {"step": trainer.state.iteration, "epoch": trainer.state.epoch, "seconds": round(self.seconds, 2)}

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all sessions."""
        return self._seconds + time.monotonic() - self._started

    def _draw(self) -> None:
        save_curves(self.folder / CURVES_NAME, self._losses.read(), self._metrics.read())

    def state_dict(self) -> dict[str, float]:
        """Seconds of training so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the state of a checkpoint."""
        self._seconds = state["seconds"]


class _Table:
    """A CSV file to which rows are added; its columns are those of the first row."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def append(self, row: Row) -> None:
        is_new = not self.file.exists()
        with self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow({key: f"{value:.8g}" if isinstance(value, float) else value for key, value in row.items()})

    def read(self) -> list[dict[str, float]]:
        """The rows that are complete: a process that was killed may have left half a line."""
        if not self.file.exists():
            return []
        with self.file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [{key: float(value) for key, value in row.items()} for row in rows if all(row.values())]

    def keep_until(self, step: int) -> None:
        rows = [row for row in self.read() if row["step"] <= step]
        if not rows:
            self.file.unlink(missing_ok=True)
            return
        with replacing(self.file) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in rows)
