"""The learning rate over the time of a budget; a step takes a second."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from diffusers.optimization import get_scheduler
from torch.optim.lr_scheduler import StepLR

from leaf_seg.engines import Budget, ShareOfSteps
from leaf_seg.engines.timed_schedule import TimedSchedule
from leaf_seg.runtime.errors import InputError
from tests.engines.test_budget import Clock

SECONDS = 600


def rates(name: str, warmup: int | ShareOfSteps, number: int = SECONDS) -> list[float]:
    """Rate of each step; 1 is the peak of the first parameter, 2 that of the second."""
    clock = Clock()
    budget = Budget(max_minutes=SECONDS / 60, clock=clock)
    groups: list[dict[str, Any]] = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1, 2)]
    optimizer = torch.optim.SGD(groups)
    schedule = TimedSchedule(partial(get_scheduler, name, num_warmup_steps=warmup), optimizer, budget)
    found = []
    for _ in range(number):
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * found[-1])
        clock.seconds += 1
        budget.end_step()
        optimizer.step()
        schedule.step()
    return found


def test_cosine_over_the_time() -> None:
    found = rates("cosine", 0)
    expected = [0.5 * (1 + math.cos(math.pi * step / SECONDS)) for step in range(SECONDS)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_warm_up_has_its_steps() -> None:
    found = rates("cosine", 60)
    assert found[:60] == pytest.approx([step / 60 for step in range(60)], abs=1e-3)
    assert found[60] > 0.95
    assert found[60:] == sorted(found[60:], reverse=True)
    assert found[-1] < 0.01


@pytest.mark.parametrize(("at_most", "steps"), [(20, 20), (1000, 30)])  # 5 % of 600 are 30
def test_a_warm_up_ends_with_its_steps_or_its_share(at_most: int, steps: int) -> None:
    found = rates("cosine", ShareOfSteps(at_most, 0.05))
    assert found[:steps] == pytest.approx([step / steps for step in range(steps)], abs=2e-3)
    assert found[steps] > 0.98


def test_other_shapes() -> None:
    assert rates("constant", 60)[:3] == [1, 1, 1]
    assert rates("constant_with_warmup", 60)[-1] == 1
    assert rates("linear", 0)[300] == pytest.approx(0.5, abs=0.01)


def test_its_state_is_that_of_the_schedule_of_steps() -> None:
    """So that a training goes on with a budget or without."""
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    make = partial(get_scheduler, "cosine", num_warmup_steps=5)
    budget = Budget(max_minutes=1, clock=Clock())
    timed = TimedSchedule(make, torch.optim.SGD(parameters, lr=1), budget)
    by_steps = make(optimizer=torch.optim.SGD(parameters, lr=1), num_training_steps=100)
    for _ in range(7):
        timed.step()
        by_steps.step()
    state = timed.state_dict()
    assert state["last_epoch"] == by_steps.state_dict()["last_epoch"] == 7
    assert state.keys() == by_steps.state_dict().keys()
    by_steps.load_state_dict(state)
    timed.load_state_dict(by_steps.state_dict())


def test_a_schedule_that_is_no_function_of_the_step_is_refused() -> None:
    def make(optimizer: torch.optim.Optimizer, num_training_steps: int) -> StepLR:
        return StepLR(optimizer, num_training_steps)

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    with pytest.raises(InputError, match="lr_scheduler makes a StepLR; expected a LambdaLR"):
        TimedSchedule(make, optimizer, Budget(max_minutes=1, clock=Clock()))
