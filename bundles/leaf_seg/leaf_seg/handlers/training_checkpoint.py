"""Checkpoints while training, from which it can be resumed."""

from __future__ import annotations

import logging
import time
from typing import cast

import torch.distributed as dist
from ignite.engine import Engine, Events

from leaf_seg.engines import LeafTrainer, TrainingEvents, training_state
from leaf_seg.weights import CheckpointFolder

logger = logging.getLogger(__name__)


class TrainingCheckpoint:
    """Ignite handler that saves all that a training needs to go on exactly, every few minutes and at its end.

    It saves between optimiser steps, and at the end of an epoch after the validation. So it stands behind the
    ValidationHandler in the list of handlers, and before what happens once at the end, which a resumed training is to
    do again.

    Args:
        checkpoints: where to.
        minutes: least time between two checkpoints; 0 saves after every step.
    """

    def __init__(self, checkpoints: CheckpointFolder, minutes: float = 5.0) -> None:
        self.checkpoints = checkpoints
        self.minutes = minutes
        self._saved_at = 0.0
        self._saved_step = 0

    def attach(self, engine: Engine) -> None:
        """Attach to a LeafTrainer."""
        engine.add_event_handler(Events.STARTED, self._note)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_if_due)
        engine.add_event_handler(Events.COMPLETED, self._save)

    def _note(self, engine: Engine) -> None:
        """Note that the present state is saved, or was just restored."""
        self._saved_at = time.monotonic()
        self._saved_step = engine.state.iteration

    def _after_step(self, engine: Engine) -> None:
        trainer = cast(LeafTrainer, engine)
        ends_epoch = trainer.state.iteration % cast(int, trainer.state.epoch_length) == 0
        if trainer.is_between_steps and not ends_epoch:
            self._save_if_due(engine)

    def _save_if_due(self, engine: Engine) -> None:
        if time.monotonic() - self._saved_at >= 60 * self.minutes:
            self._save(engine)

    def _save(self, engine: Engine) -> None:
        trainer = cast(LeafTrainer, engine)
        is_saved = trainer.state.iteration == self._saved_step
        if is_saved or not trainer.is_between_steps or (dist.is_initialized() and dist.get_rank() > 0):
            return
        trainer.fire_event(TrainingEvents.CHECKPOINT_STARTED)
        self.checkpoints.save(training_state(trainer))
        logger.debug("Saved a checkpoint after step %d.", trainer.state.iteration)
        self._note(trainer)
