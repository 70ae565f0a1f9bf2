"""The budget by itself, with a clock that the test moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leaf_seg.engines import Budget
from leaf_seg.runtime.errors import InputError


class Clock:
    """Seconds that the test sets."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Training:
    """Steps and validations on a clock."""

    def __init__(self, start: float = 10, step: float = 1, validation: float = 0, **options: Any) -> None:
        self.clock = Clock(start)
        self.step_seconds, self.validation_seconds = step, validation
        self.budget = Budget(**{"max_minutes": 2, "clock": self.clock, **options})
        self.progress: list[float] = []  # before each step
        self.validations: list[float] = []  # progress at each

    def step(self, number: int = 1) -> None:
        for _ in range(number):
            self.progress.append(self.budget.progress)
            self.clock.seconds += self.step_seconds
            self.budget.end_step()

    def validate(self) -> None:
        self.validations.append(self.budget.progress)
        self.budget.begin()
        self.clock.seconds += self.validation_seconds
        self.budget.end_validation()

    def run(self) -> None:
        """Until the budget says so, as TimeBudget does; the end of the process takes as much as is expected."""
        while True:
            self.step()
            if self.budget.is_over:
                break
            if self.budget.is_validation_due:
                self.validate()
        self.validate()
        self.clock.seconds += self.budget.end_share * self.budget.start_seconds


@pytest.mark.parametrize(
    ("start", "step", "validation"), [(10, 1, 0), (10, 0.1, 2), (30, 1, 3), (5, 4, 10), (2, 0.05, 7), (40, 0.5, 20)]
)
def test_a_training_ends_with_the_time_and_its_progress_goes_from_0_to_1(
    start: float, step: float, validation: float
) -> None:
    training = Training(start, step, validation)
    training.run()
    assert training.clock.seconds == pytest.approx(120, abs=0.05 * 120)
    assert training.progress[0] == 0
    assert training.progress == sorted(training.progress)
    assert training.progress[-1] == pytest.approx(1, abs=1.5 * step / (120 - start - 2 * validation - 0.3 * start))
    assert training.validations[-1] > 0.9


def test_validations_stand_at_equal_shares() -> None:
    training = Training(validation=1)
    training.run()
    assert training.validations == pytest.approx([0.2, 0.4, 0.6, 0.8, 1], abs=0.02)


def test_long_validations_are_fewer() -> None:
    training = Training(validation=6)
    training.run()
    assert len(training.validations) == 3
    training = Training(validation=40)
    training.budget.validation_seconds = 40.0  # as was expected of the first
    training.run()
    assert training.validations == pytest.approx([1], abs=0.05)


def test_progress_does_not_jump_at_a_validation_that_takes_what_was_expected() -> None:
    training = Training(validation=2)
    training.budget.validation_seconds = 2.0
    training.step(30)
    before = training.budget.progress
    training.validate()
    assert training.budget.progress == pytest.approx(before, abs=1e-6)


def test_slower_steps_are_fewer() -> None:
    training = Training()
    training.step(20)
    planned = training.budget.planned_steps
    assert planned == pytest.approx(107, abs=2)  # 120 - 10 - 0.3 x 10
    training.step_seconds = 3
    training.run()
    assert training.budget.steps < 60
    assert training.progress[-1] > 0.9
    assert training.clock.seconds == pytest.approx(120, abs=3)


def test_epochs_may_end_it_first() -> None:
    training = Training()
    training.budget.max_steps = 50
    training.step(50)
    assert training.progress[25] == pytest.approx(0.5)
    assert training.budget.progress == 1
    assert training.budget.planned_steps == 50


def test_time_that_is_spent_before_the_first_step() -> None:
    training = Training(start=200)
    assert not training.budget.left
    training.step()
    assert training.budget.is_over
    assert training.budget.progress == 1


def test_a_validation_longer_than_the_budget_leaves_half_to_training() -> None:
    training = Training(step=1)
    training.budget.validation_seconds = 500.0
    assert training.budget.left == pytest.approx(120 / 2 - 10)


def test_a_resumed_training_keeps_its_plan() -> None:
    first = Training(validation=1)
    first.step(40)
    first.validate()
    state = json.loads(json.dumps(first.budget.state_dict()))
    resumed = Training(start=4, validation=1)
    resumed.budget.load_state_dict(state)
    assert resumed.budget.used == 10 + 40 + 1 + 4
    assert first.budget.progress <= resumed.budget.progress < first.budget.progress + 0.05
    resumed.budget.begin()
    resumed.run()
    assert 51 + resumed.clock.seconds == pytest.approx(120, abs=3)
    assert resumed.progress == sorted(resumed.progress)
    assert resumed.validations == pytest.approx([0.4, 0.6, 0.8, 1], abs=0.06)
    again = Training(start=4)
    again.budget.load_state_dict(resumed.budget.state_dict())
    assert again.budget.is_over


def test_the_first_step_of_a_session_is_not_taken_for_its_speed() -> None:
    training = Training()
    training.clock.seconds += 30
    training.step()
    assert training.budget.step_seconds == 0
    training.step(5)
    assert training.budget.step_seconds == pytest.approx(1)


def test_another_kind_of_time_is_refused() -> None:
    state = Training().budget.state_dict()
    other = Budget(max_cpu_minutes=1, clock=Clock())
    with pytest.raises(InputError, match="begun with max_minutes, and max_cpu_minutes is given; expected the same"):
        other.load_state_dict(state)


@pytest.mark.parametrize("minutes", [{}, {"max_minutes": 1, "max_cpu_minutes": 1}])
def test_one_of_the_two(minutes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected one of max_minutes"):
        Budget(**minutes)


@pytest.mark.parametrize("minutes", [0, -1, "60m"])
def test_minutes_that_are_none(minutes: Any) -> None:
    with pytest.raises(InputError, match=r"max_cpu_minutes is .*; expected minutes, more than 0"):
        Budget(max_cpu_minutes=minutes)


def test_in_a_program_of_ones_own_the_time_counts_from_when_it_is_made() -> None:
    budget = Budget(max_minutes=1)  # pytest is older
    assert budget.read() < 1
    assert Budget(max_cpu_minutes=1).read() < 1
