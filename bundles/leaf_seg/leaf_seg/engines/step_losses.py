"""The losses of training steps as numbers, without a GPU having to be waited for at each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events

from leaf_seg.engines.events import TrainingEvents

LOSSES = ("loss", "loss_prediction", "loss_alignment")  # the last two where features are distilled
STEPS_PER_READ = 20  # on a GPU


@dataclass(frozen=True)
class StepRecord:
    """What a training step has to tell.

    Attributes:
        step: its number, from 1.
        epoch: from 1.
        time: when it ended, in seconds of ``time.monotonic``.
        losses: those of :data:`LOSSES` that there are.
        learning_rate: after the step; nan of an engine without an optimizer.
    """

    step: int
    epoch: int
    time: float
    losses: dict[str, Any]
    learning_rate: float


class StepLosses:
    """Hands the records of training steps on, as soon as their losses can be read cheaply.

    On a CPU that is at once. A GPU that is asked for a number finishes all its work first and is idle until it is given
    more; so there the losses stay where they are, and are read some steps at a time: after :data:`STEPS_PER_READ`
    steps, before a validation or a checkpoint, at the end of an epoch, of the training, and after an error.

    Args:
        on_read: takes the engine and the records of the steps since it was called last.
        after_error: read also when an error ends the training.
    """

    def __init__(self, on_read: Callable[[Engine, Sequence[StepRecord]], None], after_error: bool = True) -> None:
        self._on_read = on_read
        self._after_error = after_error
        self._waiting: list[StepRecord] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; to a plain engine, whose errors another handler then has to raise, too."""
        engine.add_event_handler(Events.STARTED, self._waiting.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.read)
        engine.add_event_handler(Events.COMPLETED, self.read)
        for event in (TrainingEvents.VALIDATION_STARTED, TrainingEvents.CHECKPOINT_STARTED):
            if event in engine._allowed_events:
                engine.add_event_handler(event, self.read)
        if self._after_error:
            engine.add_event_handler(Events.EXCEPTION_RAISED, self._read_after_error)

    def read(self, engine: Engine) -> None:
        """Hand on what is waiting."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._on_read(engine, _as_numbers(waiting))

    def _add(self, engine: Engine) -> None:
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        losses = {name: first[name] for name in LOSSES if name in first}
        optimizer: Any = getattr(engine, "optimizer", None)
        rate = float("nan") if optimizer is None else float(optimizer.param_groups[0]["lr"])
        self._waiting.append(StepRecord(engine.state.iteration, engine.state.epoch, time.monotonic(), losses, rate))
        if len(self._waiting) >= STEPS_PER_READ or not any(map(is_far, losses.values())):
            self.read(engine)

    def _read_after_error(self, engine: Engine, error: BaseException) -> None:
        """The error itself is raised by others; a GPU that has failed answers no more."""
        with suppress(RuntimeError):
            self.read(engine)


def is_far(loss: Any) -> bool:
    """Whether reading a loss would have to wait for a GPU."""
    return isinstance(loss, torch.Tensor) and loss.device.type != "cpu"


def _as_numbers(records: Sequence[StepRecord]) -> list[StepRecord]:
    """The records with their losses as numbers, which leave the device together."""
    values = [value for record in records for value in record.losses.values()]
    tensors = [value.detach().reshape(()) for value in values if isinstance(value, torch.Tensor)]
    numbers = iter(torch.stack(tensors).tolist() if tensors else ())
    return [
        StepRecord(
            record.step,
            record.epoch,
            record.time,
            {n: next(numbers) if isinstance(v, torch.Tensor) else float(v) for n, v in record.losses.items()},
            record.learning_rate,
        )
        for record in records
    ]
