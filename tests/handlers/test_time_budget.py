"""A budget in a real training, on a clock on which a step takes a second and a validated case two."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.optimization import get_scheduler
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from leaf_seg.engines import Budget, BundleEvaluator, BundleTrainer, ShareOfSteps, WeightAverage, training_state
from leaf_seg.handlers import FinalValidation, TimeBudget, TrainingCheckpoint, TrainingProgress
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import CheckpointFolder
from tests.engines.test_budget import Clock
from tests.engines.test_trainer import make_trainer

START, CASE = 20.0, 2.0  # seconds
STEPS_PER_EPOCH = 8
Make = Callable[..., LatentSegmenter]


class Run:
    """A training with a budget, and what came of it."""

    def __init__(self, make_segmenter: Make, folder: Path, interval: int | None = None, **options: Any) -> None:
        self.clock = Clock(START)
        minutes = {key: options.pop(key) for key in ("max_minutes", "max_cpu_minutes") if key in options}
        self.budget = Budget(**(minutes or {"max_minutes": 2}), clock=self.clock)
        network = make_segmenter().double()
        self.average = WeightAverage(network, ShareOfSteps(500, 0.05))
        validator = BundleEvaluator(
            device="cpu",
            network=network,
            val_data_loader=[{"image": torch.rand(1, 1, 16, 16, dtype=torch.float64)} for _ in range(2)],
            inferer=Cases(self.clock),
            ema=self.average,
        )
        arguments: dict[str, Any] = {
            "budget": self.budget,
            "ema": self.average,
            "max_epochs": None,
            "batch_size": 1,
            "lr_scheduler": partial(get_scheduler, "cosine", num_warmup_steps=ShareOfSteps(100, 0.05)),
            "train_handlers": [
                FinalValidation(validator),
                TimeBudget(self.budget, validator, interval),
                TrainingCheckpoint(CheckpointFolder(folder)),
                TrainingProgress(),
            ],
        }
        self.trainer: BundleTrainer = make_trainer(network, **(arguments | options))
        self.rates: list[float] = []  # of each step, as a share of the peak
        self.validated: list[tuple[int, int]] = []  # step, epoch
        self.trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, self._step)
        validator.add_event_handler(Events.COMPLETED, self._note)

    def _step(self) -> None:
        self.clock.seconds += 1
        self.rates.append(self.trainer.optimizer.param_groups[0]["lr"] / 0.01)

    def _note(self, validator: Engine) -> None:
        self.validated.append((self.trainer.state.iteration, validator.state.epoch))


class Cases(SegmentationInferer):
    """Takes its time for each case, and more for the first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__((16, 16))
        self.clock = clock
        self.is_first = True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.clock.seconds += 3 * CASE if self.is_first else CASE
        self.is_first = False
        return super().__call__(*arguments, **options)


def test_rate_validations_and_end_go_by_the_time(
    make_segmenter: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    run = Run(make_segmenter, tmp_path)
    run.trainer.run()
    assert run.clock.seconds + 0.3 * START == pytest.approx(120, abs=2)
    steps = len(run.rates)
    assert steps == pytest.approx(120 - 1.3 * START - 4 * CASE - 4 * 2 * CASE, abs=2)  # the estimate; 4 validations
    assert max(run.rates) > 0.99
    assert run.rates.index(max(run.rates)) <= 5  # 5 % of some 70
    assert run.rates[-1] < 0.01
    assert [step / steps for step, _ in run.validated] == pytest.approx([0.25, 0.5, 0.75, 1], abs=0.05)
    assert all(epoch == (step - 1) // STEPS_PER_EPOCH + 1 for step, epoch in run.validated)
    (plan,) = [message for message in caplog.messages if message.startswith("Plan: ")]
    assert f"about {steps} steps in 2 minutes (max_minutes; 1 steps/s), validations at 25, 50, 75, 100 % of it" in plan
    assert f"The 2 minutes are used (max_minutes) but for the end: training ends after step {steps}" in caplog.text
    assert "resuming" not in caplog.text
    shown = capsys.readouterr().err.split("\r")
    assert any("| of 02:00, left=00:" in line and "rate=" in line and "loss=" in line for line in shown)


@pytest.mark.slow
def test_the_average_looks_back_on_a_share_of_the_steps(make_segmenter: Make, tmp_path: Path) -> None:
    run = Run(make_segmenter, tmp_path)
    run.trainer.run()
    assert run.average.state_dict()["decay"] == pytest.approx(1 - 1 / (0.05 * len(run.rates)), abs=0.01)


@pytest.mark.slow
def test_epochs_of_the_user_validate(make_segmenter: Make, tmp_path: Path) -> None:
    run = Run(make_segmenter, tmp_path, interval=3)
    run.trainer.run()
    assert [step for step, _ in run.validated] == [24, 48, len(run.rates)]
    assert run.clock.seconds + 0.3 * START == pytest.approx(120, abs=4)


@pytest.mark.slow
def test_epochs_of_the_user_end_it_with_the_rate_down(make_segmenter: Make, tmp_path: Path) -> None:
    run = Run(make_segmenter, tmp_path, max_epochs=4)
    run.trainer.run()
    assert len(run.rates) == 32
    assert run.rates[-1] < 0.01
    assert run.rates[16] == pytest.approx(0.5, abs=0.1)
    assert run.clock.seconds < 80


@pytest.mark.slow
def test_waits_for_the_optimiser_step(make_segmenter: Make, tmp_path: Path) -> None:
    run = Run(make_segmenter, tmp_path, max_minutes=0.1, accumulation_steps=4)
    run.trainer.run()
    assert len(run.rates) == 4  # one step, though there is no time left
    assert len(run.validated) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stop", [10, 30])
def test_a_stopped_training_goes_on_by_its_plan(stop: int, make_segmenter: Make, tmp_path: Path) -> None:
    whole = Run(make_segmenter, tmp_path / "whole")
    whole.trainer.run()
    first = Run(make_segmenter, tmp_path / "first")
    first.trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, interrupt, stop)
    states: list[dict[str, Any]] = []
    first.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(training_state(first.trainer)))
    with pytest.raises(KeyboardInterrupt):
        first.trainer.run()

    second = Run(make_segmenter, tmp_path / "second")
    second.trainer.restore(states[-1])
    second.trainer.run()
    assert second.rates[0] == pytest.approx(whole.rates[stop - 1], abs=0.02)  # the step that was lost
    assert second.rates[1:] == sorted(second.rates[1:], reverse=True)
    assert second.rates[-1] < 0.05
    assert second.budget.used + 0.3 * START == pytest.approx(120, abs=5)  # the first case is slow again
    assert first.clock.seconds - 1 + second.clock.seconds == pytest.approx(second.budget.used, abs=0.01)

    third = Run(make_segmenter, tmp_path / "third")
    third.trainer.restore(training_state(second.trainer))
    third.trainer.run()
    assert not third.rates
    assert not third.validated  # it was


def test_a_training_goes_on_without_a_budget(make_segmenter: Make, tmp_path: Path) -> None:
    first = Run(make_segmenter, tmp_path / "first", max_minutes=0.8, max_epochs=None)
    first.trainer.run()
    steps = len(first.rates)
    assert 0 < steps < 4 * STEPS_PER_EPOCH
    cosine = partial(get_scheduler, "cosine", num_warmup_steps=ShareOfSteps(100, 0.05))
    network = make_segmenter()
    second = make_trainer(
        network, batch_size=1, max_epochs=4, lr_scheduler=cosine, ema=WeightAverage(network.double(), 0.9)
    )
    state = training_state(first.trainer)
    state["parts"] = {name: state["parts"][name] for name in ("network", "optimizer", "lr_scheduler", "ema")}
    second.restore(state)
    second.run()
    assert second.state.iteration == 4 * STEPS_PER_EPOCH
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_a_budget_that_is_too_small_is_told(
    make_segmenter: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(make_segmenter, tmp_path, max_cpu_minutes=0.15)
    run.trainer.run()
    assert len(run.rates) == 1
    assert "A validation of 2 cases may take 0.1 of the 0.15 minutes: raise max_cpu_minutes" in caplog.text
    assert "The 0.15 minutes are used before the first step (max_cpu_minutes): one step is done" in caplog.text


def test_lengths_that_contradict_each_other(make_segmenter: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="schedule_epochs is 4, and max_minutes is given"):
        Run(make_segmenter, tmp_path, schedule_epochs=4)
    with pytest.raises(InputError, match="max_epochs is null; expected a whole number, or a limit of time"):
        make_trainer(make_segmenter(), max_epochs=None)


def interrupt(engine: Engine, step: int) -> None:
    if engine.state.iteration == step:
        raise KeyboardInterrupt
