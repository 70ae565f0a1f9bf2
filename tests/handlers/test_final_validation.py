from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from leaf_seg.engines import BundleEvaluator
from leaf_seg.handlers import FinalValidation
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.networks import LatentSegmenter


@pytest.fixture
def evaluator(make_segmenter: Callable[..., LatentSegmenter]) -> BundleEvaluator:
    return BundleEvaluator(
        device="cpu",
        network=make_segmenter(),
        val_data_loader=[{"image": torch.rand(1, 1, 16, 16)}],
        inferer=SegmentationInferer((16, 16)),
    )


@pytest.fixture
def epochs(evaluator: BundleEvaluator) -> list[int]:
    """The epochs that were validated."""
    found: list[int] = []
    evaluator.add_event_handler(Events.COMPLETED, lambda engine: found.append(engine.state.epoch))
    return found


def make_trainer(evaluator: BundleEvaluator, interval: int) -> Any:
    trainer: Any = Engine(lambda engine, batch: None)
    ValidationHandler(interval, validator=evaluator, epoch_level=True).attach(trainer)
    return trainer


@pytest.mark.parametrize(
    ("max_epochs", "interval", "expected"),
    [(1, 5, [1]), (5, 5, [5]), (7, 5, [5, 7]), (4, 2, [2, 4]), (3, 1, [1, 2, 3])],
)
def test_last_epoch_is_validated_once(
    max_epochs: int, interval: int, expected: list[int], evaluator: BundleEvaluator, epochs: list[int]
) -> None:
    trainer = make_trainer(evaluator, interval)
    FinalValidation(evaluator).attach(trainer)
    trainer.run([0, 0], max_epochs=max_epochs)
    assert epochs == expected


@pytest.mark.parametrize(("stop_at", "expected"), [(3, [1, 2]), (4, [1, 2])])
def test_a_training_that_is_stopped_is_validated_once(
    stop_at: int, expected: list[int], evaluator: BundleEvaluator, epochs: list[int]
) -> None:
    trainer = make_trainer(evaluator, 1)
    event = Events.ITERATION_COMPLETED if stop_at % 2 else Events.EPOCH_COMPLETED
    trainer.add_event_handler(event, lambda engine: engine.state.iteration == stop_at and engine.terminate())
    FinalValidation(evaluator).attach(trainer)
    trainer.run([0, 0], max_epochs=9)
    assert epochs == expected


def test_state_holds_the_best_metric(
    evaluator: BundleEvaluator, epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(evaluator, 1)
    first = FinalValidation(evaluator)
    first.attach(trainer)
    trainer.run([0, 0], max_epochs=2)
    state: Any = evaluator.state
    state.best_metric, state.best_metric_epoch, state.best_warning = torch.tensor(0.75), 1, "nothing found"
    kept = first.state_dict()
    assert kept == {
        "key_metric": None,
        "best_metric": 0.75,
        "best_metric_epoch": 1,
        "best_warning": "nothing found",
        "validated": 4,
    }
    state.best_metric, state.best_metric_epoch, state.best_warning = -1, -1, None
    second = FinalValidation(evaluator)
    second.load_state_dict(kept)
    assert (state.best_metric, state.best_metric_epoch) == (0.75, 1)
    second(trainer)  # the last step was validated before the stop
    assert epochs == [1, 2]
    assert "The best model (epoch 1): nothing found." in caplog.text


@pytest.mark.parametrize("former", [{}, {"key_metric": "val_mean_dice"}])
def test_another_score_is_not_compared(
    former: dict[str, str], evaluator: BundleEvaluator, epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """As of a checkpoint of version 0.2.0, whose best model of 0.98 may be an empty one."""
    trainer = make_trainer(evaluator, 1)
    handler = FinalValidation(evaluator)
    handler.attach(trainer)
    state: Any = evaluator.state
    state.key_metric_name = "val_foreground_dice"
    handler.load_state_dict(former | {"best_metric": 0.98, "best_metric_epoch": 3, "validated": 6})
    assert state.best_metric_epoch == -1
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("The best model so far (epoch 3) was chosen by ")
    assert "which is not compared with val_foreground_dice: the model of the next validation takes its place." in told
    trainer.state.epoch, trainer.state.iteration = 3, 6
    handler(trainer)  # although the last step was validated, by the other score
    assert epochs == [3]


def test_a_checkpoint_from_before_the_first_validation_has_nothing_to_compare(
    evaluator: BundleEvaluator, caplog: pytest.LogCaptureFixture
) -> None:
    state: Any = evaluator.state
    state.key_metric_name = "val_foreground_dice"
    FinalValidation(evaluator).load_state_dict({"best_metric": -1, "best_metric_epoch": -1, "validated": None})
    assert not caplog.records
