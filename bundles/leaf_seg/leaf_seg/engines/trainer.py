"""The training engine: MONAI's, with what has to happen at optimiser steps."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.engine.events import EventEnum
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import ensure_tuple
from torch.optim.lr_scheduler import LRScheduler

from leaf_seg.engines.ema import WeightAverage
from leaf_seg.engines.training_state import restore_training_state
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.workers import check_workers

logger = logging.getLogger(__name__)


class TrainingEvents(EventEnum):
    """Events of :class:`BundleTrainer` besides Ignite's and MONAI's.

    ``CHECKPOINT_STARTED`` is fired before a checkpoint is collected, for what must not be behind it.
    """

    CHECKPOINT_STARTED = "checkpoint_started"


class BundleTrainer(SupervisedTrainer):
    """MONAI's SupervisedTrainer with gradient clipping, learning-rate schedule and EMA.

    They hang on the optimiser's own step hooks, so that with gradient accumulation, or a step that fp16 scaling skips,
    they advance when the weights do and not before; GradScaler has unscaled the gradients by then. A loss that is not
    finite is an error.

    Args:
        max_grad_norm: clip the norm of all gradients to this; None does not clip.
        lr_scheduler: makes the schedule from ``optimizer`` and ``num_training_steps`` (optimiser steps of the whole
            run); called after all parameter groups are in the optimiser. None keeps the rate.
        schedule_epochs: length of that schedule, for a training that ends before it does; max_epochs unless given.
        ema: average to update after every step.
        precision: "fp32", "bf16" or "fp16"; fp16 scales the loss and needs CUDA. Autocast itself is the inferer's.
        data_id: what tells the training data from others, such as the hash of their split; a checkpoint of others is
            not restored.
        settings: plain values that say what images and labels mean, such as the classes; a checkpoint of others is not
            restored.
        **kwargs: as for ``monai.engines.SupervisedTrainer``.

    Raises:
        InputError: When fp16 is asked of a device other than CUDA, the schedule ends before the training, or workers
            of the loader could not hand on what they load; while training, when the loss is not finite.
    """

    def __init__(
        self,
        *,
        max_grad_norm: float | None = None,
        lr_scheduler: Callable[..., LRScheduler] | None = None,
        schedule_epochs: int | None = None,
        ema: WeightAverage | None = None,
        precision: str = "fp32",
        data_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.train_handlers = ensure_tuple(kwargs.get("train_handlers") or ())
        check_workers(getattr(kwargs.get("train_data_loader"), "num_workers", 0))
        super().__init__(amp=precision == "fp16", event_names=[IterationEvents, TrainingEvents], **kwargs)
        if self.amp and self.state.device.type != "cuda":
            raise InputError(f"precision fp16 needs a CUDA device, found {self.state.device}; use bf16 or fp32.")
        self.max_grad_norm = max_grad_norm
        self.ema = ema
        self.data_id = data_id
        self.settings = None if settings is None else dict(settings)
        self.waiting_state: dict[str, Any] | None = None  # of a checkpoint, restored right before the first step
        self.is_restored = False
        self.lr_scheduler = None
        if lr_scheduler is not None:
            steps_per_epoch = math.ceil(self.state.epoch_length / self.accumulation_steps)
            num_steps = steps_per_epoch * _schedule_epochs(schedule_epochs, self.state.max_epochs)
            if getattr(lr_scheduler, "keywords", {}).get("num_warmup_steps", 0) >= num_steps:
                self.logger.warning("The warm-up takes all %d steps: lower warmup_steps.", num_steps)
            self.lr_scheduler = lr_scheduler(optimizer=self.optimizer, num_training_steps=num_steps)
        self.add_event_handler(IterationEvents.LOSS_COMPLETED, _check_loss)
        self.add_event_handler(Events.EXCEPTION_RAISED, _reraise)  # after the handlers', of which Ignite expects it
        self.optimizer.register_step_pre_hook(self._before_step)
        self.optimizer.register_step_post_hook(self._after_step)

    @property
    def is_done(self) -> bool:
        """Whether all epochs are trained."""
        return self._is_done(self.state)

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
        if not self.is_done:
            super().run()
            return
        logger.info("All %d epochs are trained; raise max_epochs to train on.", self.state.max_epochs)
        self.fire_event(Events.STARTED)
        self.fire_event(Events.COMPLETED)

    def _before_step(self, *_: Any) -> None:
        if self.max_grad_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def _after_step(self, *_: Any) -> None:
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        if self.ema is not None:
            self.ema.step()


def _check_loss(engine: Engine) -> None:
    output: Any = engine.state.output
    loss = output["loss"].item()
    if not math.isfinite(loss):
        raise InputError(
            f"The loss is {loss} at step {engine.state.iteration}, epoch {engine.state.epoch}; expected a finite "
            "number. Lower learning_rate, or set precision to bf16 or fp32. The best model so far is kept."
        )


def _reraise(engine: Engine, error: BaseException) -> None:
    raise error


def _schedule_epochs(schedule_epochs: int | None, max_epochs: int) -> int:
    """Length of the schedule of the learning rate."""
    if schedule_epochs is not None and schedule_epochs < max_epochs:
        raise InputError(f"schedule_epochs is {schedule_epochs}; expected at least max_epochs, {max_epochs}, or null.")
    return max_epochs if schedule_epochs is None else schedule_epochs
