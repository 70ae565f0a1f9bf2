"""The training engine: MONAI's, with what has to happen at optimiser steps."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from leaf_seg.engines.budget import Budget
from leaf_seg.engines.ema import WeightAverage
from leaf_seg.engines.evaluator import of_this_process
from leaf_seg.engines.events import TrainingEvents
from leaf_seg.engines.resumption_log import hide_resumption
from leaf_seg.engines.share_of_steps import ShareOfSteps
from leaf_seg.engines.step_losses import StepLosses, StepRecord, is_far
from leaf_seg.engines.timed_schedule import TimedSchedule
from leaf_seg.engines.training_state import restore_training_state
from leaf_seg.runtime.allocator import freed_memory_kept
from leaf_seg.runtime.distributed import num_processes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import check_precision
from leaf_seg.runtime.termination import interruptible, raise_if_interrupted
from leaf_seg.runtime.values import parse_bool
from leaf_seg.runtime.workers import check_workers

logger = logging.getLogger(__name__)

_NO_LIMIT = 1_000_000  # epochs


class BundleTrainer(SupervisedTrainer):
    """MONAI's SupervisedTrainer with gradient clipping, learning-rate schedule and EMA.

    They hang on the optimiser's own step hooks, so that with gradient accumulation, or a step that fp16 scaling skips,
    they advance when the weights do and not before; GradScaler has unscaled the gradients by then. With a budget all of
    these go by its progress instead of by steps.

    A loss that is not finite is an error: on a CPU before the weights are changed by it; on a GPU, which would have to
    be waited for, some steps later, but before anything is validated or saved (:class:`~leaf_seg.engines.StepLosses`).

    Unlike MONAI's it does not take batches apart after each step unless ``decollate`` is set, and forgets gradients
    instead of setting them to 0 (``optim_set_to_none``): both would only take time.

    Args:
        max_grad_norm: clip the norm of all gradients to this; None does not clip.
        lr_scheduler: makes the schedule from ``optimizer`` and ``num_training_steps`` (optimiser steps of the whole
            run); called after all parameter groups are in the optimiser. A ``num_warmup_steps`` of its keywords may
            depend on these (:class:`ShareOfSteps`). None keeps the rate.
        schedule_epochs: length of that schedule, for a training that ends before it does; max_epochs unless given.
        budget: time that the training may use; TimeBudget ends it. None: there is no limit of time.
        max_epochs: None for a budget that alone limits the training.
        ema: average to update after every step.
        keep_memory: on a CPU let the process keep the memory that a step frees, for the next one, until its end
            (:func:`~leaf_seg.runtime.allocator.freed_memory_kept`).
        precision: "fp32", "bf16" or "fp16"; fp16 scales the loss and needs CUDA. Autocast itself is the inferer's.
        data_id: what tells the training data from others, such as the hash of their split; a checkpoint of others is
            not restored.
        settings: plain values that say what images and labels mean, such as the classes; a checkpoint of others is not
            restored.
        **kwargs: as for ``monai.engines.SupervisedTrainer``.

    Raises:
        InputError: When fp16 is asked of a device other than CUDA, the schedule ends before the training, there is
            neither max_epochs nor a budget, or a budget for several processes, or workers of the loader could not hand
            on what they load; while training, when the loss is not finite.
    """

    def __init__(
        self,
        *,
        max_grad_norm: float | None = None,
        lr_scheduler: Callable[..., LRScheduler] | None = None,
        schedule_epochs: int | None = None,
        budget: Budget | None = None,
        max_epochs: int | None = None,
        ema: WeightAverage | None = None,
        keep_memory: bool | str = False,
        precision: str = "fp32",
        data_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_length(max_epochs, schedule_epochs, budget)
        self.train_handlers = of_this_process(kwargs.get("train_handlers"))
        kwargs = {"decollate": False, "optim_set_to_none": True} | kwargs
        kwargs["train_handlers"] = [StepLosses(_check_losses, after_error=False), *self.train_handlers]
        check_workers(getattr(kwargs.get("train_data_loader"), "num_workers", 0))
        self.budget = budget
        events: list[Any] = [IterationEvents, TrainingEvents]
        super().__init__(amp=precision == "fp16", event_names=events, max_epochs=max_epochs or _NO_LIMIT, **kwargs)
        check_precision(precision, self.state.device)
        self.max_grad_norm = max_grad_norm
        self.ema = ema
        self.keep_memory = parse_bool(keep_memory, "keep_memory")
        self.data_id = data_id
        self.settings = None if settings is None else dict(settings)
        self.waiting_state: dict[str, Any] | None = None  # of a checkpoint, restored right before the first step
        self.is_restored = False
        self.lr_scheduler: LRScheduler | TimedSchedule | None = None
        steps_per_epoch = math.ceil(self.state.epoch_length / self.accumulation_steps)
        if budget is not None:
            budget.max_steps = max_epochs and steps_per_epoch * max_epochs
            if lr_scheduler is not None:
                self.lr_scheduler = TimedSchedule(lr_scheduler, self.optimizer, budget)
        else:
            num_steps = steps_per_epoch * (schedule_epochs or self.state.max_epochs)
            if lr_scheduler is not None:
                self.lr_scheduler = _schedule(lr_scheduler, self.optimizer, num_steps)
            if ema is not None:
                ema.plan(num_steps)
        hide_resumption(self)
        self.add_event_handler(Events.ITERATION_STARTED, raise_if_interrupted)
        self.add_event_handler(IterationEvents.LOSS_COMPLETED, _check_near_loss)
        self.add_event_handler(IterationEvents.MODEL_COMPLETED, _forget_graph)
        self.add_event_handler(Events.EXCEPTION_RAISED, _reraise)  # after the handlers', of which Ignite expects it
        self.optimizer.register_step_pre_hook(self._before_step)
        self.optimizer.register_step_post_hook(self._after_step)

    @property
    def is_between_steps(self) -> bool:
        """Whether no gradients are waiting for further batches: the time to save a checkpoint."""
        batch = self.state.iteration % self.state.epoch_length
        return batch % self.accumulation_steps == 0

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint of :func:`~leaf_seg.engines.training_state`; None begins at the beginning.

        Raises:
            InputError: When the checkpoint is not one of this training.
        """
        if state is not None:
            restore_training_state(self, state)
            self.is_restored = True

    def run(self) -> None:  # type: ignore[override]  # as MONAI's Trainer
        """Train; of a training that is complete already only what belongs to its end."""
        if self._is_done(self.state):
            logger.info("All %d epochs are trained; raise max_epochs to train on.", self.state.max_epochs)
        elif self.is_restored and self.budget is not None and self.budget.is_over:
            logger.info("The %g minutes are used; raise %s to train on.", self.budget.minutes, self.budget.key)
        else:
            is_kept = self.keep_memory and self.state.device.type == "cpu"
            with freed_memory_kept() if is_kept else nullcontext(), interruptible():
                super().run()
            return
        self.fire_event(Events.STARTED)
        self.fire_event(Events.COMPLETED)

    def _before_step(self, *_: Any) -> None:
        if self.max_grad_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def _after_step(self, *_: Any) -> None:
        if self.budget is not None:
            self.budget.end_step()
            if self.ema is not None:
                self.ema.plan(self.budget.planned_steps)
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        if self.ema is not None:
            self.ema.step()


def _check_near_loss(engine: Engine) -> None:
    output: Any = engine.state.output
    if not is_far(output["loss"]):
        _check_loss(output["loss"].item(), engine.state.iteration, engine.state.epoch)


def _check_losses(engine: Engine, records: Sequence[StepRecord]) -> None:
    for record in records:
        _check_loss(record.losses["loss"], record.step, record.epoch)


def _check_loss(loss: float, step: int, epoch: int) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"The loss is {loss} at step {step}, epoch {epoch}; expected a finite number. Lower learning_rate, or set "
            "precision to bf16 or fp32. The best model so far is kept."
        )


def _forget_graph(engine: Engine) -> None:
    """So that what the step has computed is freed before the next one."""
    output: Any = engine.state.output
    if isinstance(output, dict):
        engine.state.output = {  # type: ignore[assignment]  # Ignite's type leaves out dictionaries
            key: value.detach() if isinstance(value, torch.Tensor) else value for key, value in output.items()
        }


def _reraise(engine: Engine, error: BaseException) -> None:
    raise error


def _check_length(max_epochs: int | None, schedule_epochs: int | None, budget: Budget | None) -> None:
    """Refuse lengths of a training and of its schedule that contradict each other."""
    if budget is None and max_epochs is None:
        raise InputError("max_epochs is null; expected a whole number, or a limit of time (max_minutes).")
    if budget is not None and schedule_epochs is not None:
        raise InputError(
            f"schedule_epochs is {schedule_epochs}, and {budget.key} is given, by which the learning rate falls; leave "
            "one out."
        )
    if budget is not None and num_processes() > 1:
        raise InputError(
            f"{budget.key} is given, and {num_processes()} processes train; expected one. Give max_epochs."
        )
    if schedule_epochs is not None and max_epochs is not None and schedule_epochs < max_epochs:
        raise InputError(f"schedule_epochs is {schedule_epochs}; expected at least max_epochs, {max_epochs}, or null.")


def _schedule(make: Callable[..., LRScheduler], optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """A schedule of steps."""
    warmup = getattr(make, "keywords", {}).get("num_warmup_steps", 0)
    if isinstance(warmup, ShareOfSteps):
        warmup = int(warmup.of(num_steps))
        make = partial(make, num_warmup_steps=warmup)
    if warmup >= num_steps:
        logger.warning("The warm-up takes all %d steps: lower warmup_steps.", num_steps)
    return make(optimizer=optimizer, num_training_steps=num_steps)
