"""Lets a training do with its time what the budget says."""

from __future__ import annotations

import logging
from itertools import islice
from typing import cast

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MLFlowHandler
from monai.networks.utils import eval_mode
from torch.utils.data import DataLoader

from leaf_seg.engines import BundleTrainer, TrainingEvents
from leaf_seg.engines.budget import Budget

logger = logging.getLogger(__name__)

_PLAN_SHARE, _PLAN_SECONDS = 0.02, 5.0  # of the budget, at most: when there is enough to tell the plan from
_MLFLOW_SHARE = 0.8  # of the time of the process's start: what MLflow takes at the end, for its record of the model
_LONG_SHARE = 0.4  # of the budget: a validation that leaves too little to training


class TimeBudget:
    """Validates and ends the training when the budget says so, between optimiser steps, and tells the plan.

    How long a validation takes is measured; before the first one it is expected from what the second case takes.

    Args:
        budget: of the trainer.
        validator: evaluator that validates, and saves the best model. What else it does must be attached before.
        interval: epochs after which to validate, in place of the shares of the budget. None: these.
    """

    def __init__(self, budget: Budget, validator: SupervisedEvaluator, interval: int | None = None) -> None:
        self.budget = budget
        self.validator = validator
        self.interval = interval
        if interval is not None:
            budget.num_validations = 1  # of its own: the last one
        self._has_begun = self._is_told = False  # in this session
        self._saving_since = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer, before a TrainingCheckpoint."""
        engine.add_event_handler(Events.STARTED, self._expect)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        self.validator.add_event_handler(Events.STARTED, self.budget.begin)
        self.validator.add_event_handler(Events.COMPLETED, self.budget.end_validation)
        engine.add_event_handler(TrainingEvents.CHECKPOINT_STARTED, self._begin_saving)
        engine.add_event_handler(TrainingEvents.CHECKPOINT_COMPLETED, self._end_saving)
        if any(isinstance(handler, MLFlowHandler) for handler in cast(BundleTrainer, engine).train_handlers):
            self.budget.end_share += _MLFLOW_SHARE

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self.budget.begin()
            if not self.budget.left:
                key, minutes = self.budget.key, self.budget.minutes
                logger.warning("The %g minutes are used before the first step (%s): one step is done.", minutes, key)

    def _begin_saving(self) -> None:
        self._saving_since = self.budget.read()

    def _end_saving(self) -> None:
        self.budget.saving_seconds = self.budget.read() - self._saving_since

    def _after_step(self, engine: Engine) -> None:
        trainer, budget = cast(BundleTrainer, engine), self.budget
        if not trainer.is_between_steps:
            return
        enough = min(_PLAN_SECONDS, _PLAN_SHARE * budget.seconds)
        if not self._is_told and budget.step_seconds and budget.trained >= enough:
            self._tell_plan()
        if budget.is_over:
            logger.info(
                "The %g minutes are used (%s) but for the end: training ends after step %d.",
                budget.minutes,
                budget.key,
                engine.state.iteration,
            )
            engine.terminate()
        elif self._is_validation_due(engine):
            trainer.fire_event(TrainingEvents.VALIDATION_STARTED)
            self.validator.run(engine.state.epoch)

    def _is_validation_due(self, engine: Engine) -> bool:
        if self.interval is None:
            return self.budget.is_validation_due
        epochs, batches = divmod(engine.state.iteration, cast(int, engine.state.epoch_length))
        is_due = batches == 0 and epochs % self.interval == 0
        return is_due and self.budget.left >= (self.budget.validation_seconds or 0.0)  # else the last one is near

    def _tell_plan(self) -> None:
        self._is_told = True
        budget = self.budget
        if self.interval is not None:
            when = f"every {self.interval} epochs and at the end"
        else:
            number = budget.planned_validations
            when = "at " + ", ".join(f"{100 * (index + 1) / number:.0f}" for index in range(number)) + " % of it"
        logger.info(
            "Plan: about %.0f steps in %g minutes (%s; %.3g steps/s), validations %s.",
            budget.planned_steps,
            budget.minutes,
            budget.key,
            1 / budget.step_seconds,
            when,
        )

    def _expect(self) -> None:
        """Expect of all cases what the second one takes, where no validation has been measured."""
        budget, loader = self.budget, cast(DataLoader, self.validator.data_loader)
        if budget.validation_seconds is not None:
            return
        network = self.validator.network
        budget.begin()
        with eval_mode(network), torch.no_grad():
            for batch in islice(loader, 2):
                inputs, *_ = self.validator.prepare_batch(batch, self.validator.state.device)
                self.validator.inferer(inputs, network)
                seconds = budget.lap()  # of the first case these are more
        budget.validation_seconds = len(loader) * seconds
        if budget.validation_seconds > _LONG_SHARE * budget.seconds:
            logger.warning(
                "A validation of %d cases may take %.1f of the %g minutes: raise %s, or validate on fewer cases.",
                len(loader),
                budget.validation_seconds / 60,
                budget.minutes,
                budget.key,
            )
