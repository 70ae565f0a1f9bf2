"""A schedule of the learning rate over the time of a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from leaf_seg.engines.budget import Budget
from leaf_seg.engines.share_of_steps import ShareOfSteps
from leaf_seg.runtime.errors import InputError

_LENGTH, _WARMUP = 10_000, 1_000  # of the schedule's two parts, in places


class TimedSchedule:
    """Takes a schedule of steps for a shape, and goes along it with the progress of a budget.

    The warm-up has its steps; where these are a share (:class:`ShareOfSteps`), it ends when either the steps or the
    share of the progress are over. Behind it the rate is that of the schedule at the same part of its length.

    Args:
        make: makes a ``LambdaLR`` from ``optimizer`` and ``num_training_steps``, and ``num_warmup_steps`` where that is
            one of its keywords, as a partial of diffusers' ``get_scheduler``.
        optimizer: with all its parameter groups.
        budget: whose progress counts.

    Raises:
        InputError: When it makes a schedule of another kind.
    """

    def __init__(self, make: Callable[..., LRScheduler], optimizer: Optimizer, budget: Budget) -> None:
        self.optimizer = optimizer
        self.budget = budget
        self.warmup: int | ShareOfSteps = getattr(make, "keywords", {}).get("num_warmup_steps", 0)
        warmup = {"num_warmup_steps": _WARMUP} if self.warmup else {}
        schedule = make(optimizer=optimizer, num_training_steps=_LENGTH + (_WARMUP if warmup else 0), **warmup)
        if not isinstance(schedule, LambdaLR):
            raise InputError(
                f"{budget.key} needs a schedule of the learning rate that is a function of the step, and lr_scheduler "
                f"makes a {type(schedule).__name__}; expected a LambdaLR."
            )
        self._schedule = schedule

    def step(self) -> None:
        """Set the rate of the next step; the budget knows of the one that is done."""
        self._schedule.step()  # counts the steps, for a training that goes on without a budget
        place = self._place()
        for group, rate, shape in zip(
            self.optimizer.param_groups, self._schedule.base_lrs, self._schedule.lr_lambdas, strict=True
        ):
            group["lr"] = rate * shape(place)

    def _place(self) -> int:
        """Where on the schedule the next step is."""
        behind = round(_LENGTH * self.budget.progress)
        if not self.warmup:
            return behind
        if isinstance(self.warmup, ShareOfSteps):
            done = max(self.budget.steps / max(1, self.warmup.at_most), self.budget.progress / self.warmup.share)
        else:
            done = self.budget.steps / self.warmup
        return round(_WARMUP * done) if done < 1 else _WARMUP + behind

    def state_dict(self) -> dict[str, Any]:
        """That of the schedule of steps."""
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._schedule.load_state_dict(state)
