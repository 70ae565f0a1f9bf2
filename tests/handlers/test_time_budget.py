from __future__ import annotations

import time
from typing import Any

import pytest
from ignite.engine import Engine, Events

from leaf_seg.handlers import TimeBudget
from leaf_seg.runtime.errors import InputError


class Clock:
    """A clock on which every training step takes a minute."""

    def __init__(self) -> None:
        self.minutes = 0.0

    def __call__(self) -> float:
        return 60 * self.minutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def run(clock: Clock, minutes: float, accumulation_steps: int = 1) -> tuple[int, list[int]]:
    """Steps done and epochs that came to their end, of 4 epochs of 5 steps."""

    def step(engine: Engine, batch: Any) -> None:
        clock.minutes += 1

    trainer: Any = Engine(step)
    Engine.is_between_steps = property(  # type: ignore[attr-defined]  # as BundleTrainer's
        lambda engine: engine.state.iteration % 5 % accumulation_steps == 0
    )
    ended: list[int] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: ended.append(engine.state.epoch))
    TimeBudget(minutes).attach(trainer)
    try:
        trainer.run([0] * 5, max_epochs=4)
    finally:
        del Engine.is_between_steps  # type: ignore[attr-defined]
    return trainer.state.iteration, ended


@pytest.mark.parametrize(
    ("minutes", "steps", "ended"),
    [(3, 3, []), (5, 5, [1]), (7.5, 8, [1]), (10, 10, [1, 2]), (100, 20, [1, 2, 3, 4])],
)
def test_ends_after_the_minutes_and_keeps_the_end_of_an_epoch(
    minutes: float, steps: int, ended: list[int], clock: Clock
) -> None:
    clock.minutes = 1000  # it counts from the start of the training
    assert run(clock, minutes) == (steps, ended)


def test_waits_for_the_optimiser_step(clock: Clock) -> None:
    assert run(clock, 1, accumulation_steps=3)[0] == 3


@pytest.mark.parametrize("minutes", [0, -1, "60m"])
def test_minutes_that_are_none(minutes: Any) -> None:
    with pytest.raises(InputError, match=r"max_minutes is .*; expected minutes, more than 0"):
        TimeBudget(minutes)
