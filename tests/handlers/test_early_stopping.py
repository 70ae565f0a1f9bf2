from __future__ import annotations

from typing import Any

import pytest
from ignite.engine import Engine, Events

from leaf_seg.handlers import EarlyStopping
from leaf_seg.runtime.errors import InputError


def make_engines(scores: list[float], patience: int) -> tuple[Any, EarlyStopping]:
    """A trainer whose epoch i is validated with score i."""
    validator: Any = Engine(lambda engine, batch: None)
    validator.state.key_metric_name = "dice"
    trainer: Any = Engine(lambda engine, batch: None)
    handler = EarlyStopping(validator, patience)
    handler.attach(trainer)

    def validate(engine: Engine) -> None:
        validator.state.metrics = {"dice": scores[engine.state.epoch - 1]}
        validator.run([0])

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return trainer, handler


@pytest.mark.parametrize(
    ("scores", "patience", "last"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, 5),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2, 3),
        ([0.5, 0.4, 0.6, 0.5, 0.5], 2, 5),
        ([0.5, 0.4, 0.6, 0.5, 0.7], 1, 2),
    ],
)
def test_stops_when_patience_is_over(scores: list[float], patience: int, last: int) -> None:
    trainer, _ = make_engines(scores, patience)
    trainer.run([0], max_epochs=5)
    assert trainer.state.epoch == last


def test_a_stop_for_good_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    trainer, handler = make_engines([0.5, 0.4, 0.4, 0.4], 2)
    trainer.run([0], max_epochs=4)
    resumed, again = make_engines([0.9] * 4, 2)
    again.load_state_dict(handler.state_dict())
    with caplog.at_level("INFO"):
        resumed.run([0], max_epochs=4)
    assert resumed.state.iteration == 0
    assert "No validation was better in the last 2" in caplog.text


def test_counts_on_after_a_resume() -> None:
    trainer, handler = make_engines([0.5, 0.4], 2)
    trainer.run([0], max_epochs=2)
    resumed, again = make_engines([0.4, 0.4], 2)
    again.load_state_dict(handler.state_dict())
    resumed.run([0], max_epochs=2)
    assert resumed.state.epoch == 1


def test_the_count_of_another_metric_begins_anew() -> None:
    """As of a checkpoint of version 0.2.0, which names none."""
    trainer, handler = make_engines([0.9, 0.9, 0.9], 2)
    trainer.run([0], max_epochs=3)
    former = {key: value for key, value in handler.state_dict().items() if key != "key_metric"}
    resumed, again = make_engines([0.1, 0.2, 0.2], 2)
    again.load_state_dict(former)
    resumed.run([0], max_epochs=3)
    assert resumed.state.epoch == 3


@pytest.mark.parametrize("patience", [0, 1.5, "5", False])
def test_patience_that_is_none(patience: Any) -> None:
    with pytest.raises(InputError, match=r"early_stopping is .*; expected a whole number of validations"):
        make_engines([0.1], patience)
