"""Stops a training when its time is spent."""

from __future__ import annotations

import logging
import time
from typing import cast

from ignite.engine import Engine, Events

from leaf_seg.engines import BundleTrainer
from leaf_seg.runtime.values import check_number

logger = logging.getLogger(__name__)


class TimeBudget:
    """Ends training after some minutes; a resumed training gets the same time again.

    Unlike Ignite's TimeLimit it counts from the start of the training, not from when it is built, ends between
    optimiser steps, and lets an epoch that ends with the time have its validation.

    Args:
        minutes: wall time of the training, validations included, above 0. What comes before and after it, such as
            reading the data and the last validation, is not counted.

    Raises:
        InputError: When the minutes are not above 0.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = check_number(minutes, "max_minutes", "minutes, more than 0", lambda value: value > 0)
        self._end = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer, behind its ValidationHandler."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._check_within_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check)

    def _start(self) -> None:
        self._end = time.monotonic() + 60 * self.minutes

    def _check_within_epoch(self, engine: Engine) -> None:
        ends_epoch = engine.state.iteration % cast(int, engine.state.epoch_length) == 0
        if cast(BundleTrainer, engine).is_between_steps and not ends_epoch:
            self._check(engine)

    def _check(self, engine: Engine) -> None:
        if time.monotonic() >= self._end:
            step = engine.state.iteration
            logger.info("%g minutes are over (max_minutes): training ends after step %d.", self.minutes, step)
            engine.terminate()
