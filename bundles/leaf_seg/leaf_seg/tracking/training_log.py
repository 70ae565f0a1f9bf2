"""Losses and validation metrics of a training as tables and curves."""

from __future__ import annotations

import csv
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from leaf_seg.engines import StepLosses, StepRecord
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.files import ensure_writable_folder, replacing, writing
from leaf_seg.tracking.rows import step_row, validation_row
from leaf_seg.tracking.run_folder import CURVES_NAME, LOSSES_NAME, METRICS_NAME
from leaf_seg.visual.curves import save_curves

logger = logging.getLogger(__name__)

Row = dict[str, Any]

_SECONDS_BETWEEN_DRAWINGS = 30  # of the curves while it trains: drawing takes up to a second


class TrainingLog:
    """Ignite handler that writes ``losses.csv`` (each step), ``metrics.csv`` (each validation) and ``curves.png``.

    The curves are drawn at the end, and before that after validations, at most every half a minute.

    Both tables begin with step, epoch and seconds of training so far. A resumed training goes on behind the step that
    it resumes from: rows that the stopped one wrote after that are taken back. Of a damaged table what can be read is
    kept; that, and what is missing, is logged. A table of other metrics, as of a former version, is set aside.

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
        self._drawn = self._started  # time of the last drawing

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer, before a TrainingCheckpoint."""
        if not is_rank_zero():
            return
        engine.add_event_handler(Events.STARTED, self._start)
        StepLosses(self._log_steps).attach(engine)
        self.validator.add_event_handler(Events.COMPLETED, self._log_validation, engine)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        ensure_writable_folder(self.folder)
        self._started = time.monotonic()
        for table in (self._losses, self._metrics):
            table.repair()
            table.keep_until(engine.state.iteration)
        missing = engine.state.iteration - len(self._losses.read())
        if missing > 0:
            logger.warning("%s lacks %d of the %d steps so far.", self._losses.file, missing, engine.state.iteration)

    def _log_steps(self, engine: Engine, records: Sequence[StepRecord]) -> None:
        for record in records:
            self._losses.append(self._place(record.step, record.epoch, record.time) | step_row(record))

    def _log_validation(self, validator: Engine, trainer: Engine) -> None:
        self._metrics.keep_until(trainer.state.iteration - 1)  # a resumed training may repeat its last validation
        place = self._place(trainer.state.iteration, trainer.state.epoch, time.monotonic())
        row = place | validation_row(validator)
        self._metrics.set_aside_unless(list(row))
        self._metrics.append(row)
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def _place(self, step: int, epoch: int, now: float) -> Row:
        return {"step": step, "epoch": epoch, "seconds": round(self._seconds + now - self._started, 2)}

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all sessions."""
        return self._seconds + time.monotonic() - self._started

    def _draw(self) -> None:
        with decoration(f"The figure {CURVES_NAME}"):
            save_curves(self.folder / CURVES_NAME, self._losses.read(), self._metrics.read())
        self._drawn = time.monotonic()

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
        with writing(self.file), self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow({key: f"{value:.8g}" if isinstance(value, float) else value for key, value in row.items()})

    def read(self) -> list[dict[str, float]]:
        """The rows that are whole: a process that was killed may have left half a line."""
        return [row for row in self._rows() if row is not None]

    def _rows(self) -> list[dict[str, float] | None]:
        """The rows below the header; None for what is none."""
        if not self.file.exists():
            return []
        lines = self.file.read_text(errors="replace").splitlines()
        names = _cells(lines[0]) if lines else []
        if "step" not in names:
            return [None] * len(lines)
        return [_as_row(names, _cells(line)) for line in lines[1:]]

    def repair(self) -> None:
        """Set a damaged table aside, and go on with those of its rows that are whole."""
        rows = self._rows()
        if None not in rows[:-1] and (len(rows) != 1 or rows[0] is not None):
            return  # the last line may be half a one
        damaged = self.file.with_name(f"{self.file.name}.damaged")
        shutil.copyfile(self.file, damaged)
        logger.warning(
            "%s is damaged: %d of its lines cannot be read and are left out; as it was it is kept as %s.",
            self.file,
            rows.count(None),
            damaged.name,
        )

    def set_aside_unless(self, names: list[str]) -> None:
        """Set a table with other columns aside, so that a new one begins."""
        rows = self.read()
        if rows and list(rows[0]) != names:
            former = self.file.with_name(f"{self.file.name}.former")
            self.file.replace(former)
            logger.warning("%s was of other metrics: it is kept as %s, and begins anew.", self.file, former.name)

    def keep_until(self, step: int) -> None:
        rows = [row for row in self.read() if row["step"] <= step]
        if not rows:
            self.file.unlink(missing_ok=True)
            return
        with replacing(self.file) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in rows)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _as_row(names: list[str], cells: list[str]) -> dict[str, float] | None:
    """Numbers by their columns; None where the line is not one of a table with these."""
    try:
        row = {name: float(cell) for name, cell in zip(names, cells, strict=True)}
    except ValueError:
        return None
    return row if math.isfinite(row["step"]) else None
