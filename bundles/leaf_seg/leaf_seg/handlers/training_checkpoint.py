"""Checkpoints while training, from which it can be resumed."""

from __future__ import annotations

import logging
import time
from typing import cast

from ignite.engine import Engine, Events

from leaf_seg.engines import BundleTrainer, TrainingEvents, training_state
from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.values import check_number
from leaf_seg.weights import CheckpointFolder

logger = logging.getLogger(__name__)


class TrainingCheckpoint:
    """Ignite handler that saves all that a training needs to go on exactly: at its start, now and then, at its end.

    It saves between optimiser steps, at the end of an epoch after the validation, and at the end of the training after
    the last one. So it stands behind the validating handlers in the list.

    Args:
        checkpoints: where to.
        minutes: least time between two checkpoints, 0 or more; 0 saves after every step.

    Raises:
        InputError: When the minutes are not 0 or more.
    """

    def __init__(self, checkpoints: CheckpointFolder, minutes: float = 5.0) -> None:
        self.checkpoints = checkpoints
        self.minutes = check_number(minutes, "checkpoint_minutes", "minutes, 0 or more", lambda value: value >= 0)
        self._saved_at = 0.0
        self._saved_step: int | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.EPOCH_STARTED, self._save_first)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_if_due)
        engine.add_event_handler(Events.COMPLETED, self._save_last)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._tell_stop)

    def _begin(self, engine: Engine) -> None:
        self._saved_at = time.monotonic()
        self._saved_step = engine.state.iteration if cast(BundleTrainer, engine).is_restored else None

    def _save_first(self, engine: Engine) -> None:
        """So that there is something to resume from as soon as there may be a model."""
        if engine.state.iteration == 0 and not cast(BundleTrainer, engine).is_restored:
            self._save(engine)

    def _after_step(self, engine: Engine) -> None:
        trainer = cast(BundleTrainer, engine)
        ends_epoch = trainer.state.iteration % cast(int, trainer.state.epoch_length) == 0
        if trainer.is_between_steps and not ends_epoch:
            self._save_if_due(engine)

    def _save_if_due(self, engine: Engine) -> None:
        if time.monotonic() - self._saved_at >= 60 * self.minutes:
            self._save(engine)

    def _save_last(self, engine: Engine) -> None:
        """Also where nothing was trained: the last validation may have been done again, after a kill in it."""
        if cast(BundleTrainer, engine).is_between_steps:
            self._save(engine)

    def _save(self, engine: Engine) -> None:
        if not is_rank_zero():
            return
        trainer = cast(BundleTrainer, engine)
        trainer.fire_event(TrainingEvents.CHECKPOINT_STARTED)
        self.checkpoints.save(training_state(trainer))
        self._saved_step = trainer.state.iteration
        self._saved_at = time.monotonic()
        trainer.fire_event(TrainingEvents.CHECKPOINT_COMPLETED)

    def _tell_stop(self, engine: Engine, error: BaseException) -> None:
        """The error itself is raised behind this handler."""
        if self._saved_step is not None and is_rank_zero():
            logger.error(
                "Training stopped (%s) after step %d; the same command with --resume true goes on after step %d.",
                type(error).__name__,
                engine.state.iteration,
                self._saved_step,
            )
