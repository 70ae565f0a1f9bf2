from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image

from leaf_seg.tracking import TrainingLog

NUM_STEPS = 4


def make_trainer(folder: Path, aligned: bool = False) -> tuple[Any, TrainingLog]:
    """A trainer with loss 1 / step, validated after each epoch."""
    validator: Any = Engine(lambda engine, batch: None)

    def step(engine: Engine, batch: Any) -> dict[str, Any]:
        losses = {"loss": torch.tensor(1 / engine.state.iteration)}
        return losses | ({"loss_prediction": 2.0, "loss_alignment": -0.5} if aligned else {})

    trainer: Any = Engine(step)
    trainer.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
    log = TrainingLog(folder, validator)
    log.attach(trainer)

    def validate(engine: Engine) -> None:
        validator.state.metrics = {"val_foreground_dice": torch.tensor(0.1 * engine.state.epoch), "table": [1, 2]}
        validator.run([0])

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return trainer, log


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_for_each_step_and_each_validation(tmp_path: Path) -> None:
    make_trainer(tmp_path, aligned=True)[0].run([0] * NUM_STEPS, max_epochs=3)
    losses = read(tmp_path / "losses.csv")
    assert [row["step"] for row in losses] == [str(step) for step in range(1, 13)]
    assert [float(row["loss"]) for row in losses] == pytest.approx([1 / step for step in range(1, 13)])
    assert {row["epoch"] for row in losses[4:8]} == {"2"}
    assert losses[0]["loss_prediction"] == "2"
    assert losses[0]["loss_alignment"] == "-0.5"
    assert losses[0]["learning_rate"] == "0.25"
    metrics = read(tmp_path / "metrics.csv")
    assert [(row["step"], row["epoch"]) for row in metrics] == [("4", "1"), ("8", "2"), ("12", "3")]
    assert [float(row["val_foreground_dice"]) for row in metrics] == pytest.approx([0.1, 0.2, 0.3])
    assert "table" not in metrics[0]
    assert np.asarray(Image.open(tmp_path / "curves.png")).std() > 0


def test_a_table_of_other_metrics_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As of version 0.2.0, which chose the best model by another score."""
    former = "step,epoch,seconds,val_mean_dice\n4,1,9,0.98\n"
    (tmp_path / "metrics.csv").write_text(former)
    trainer = make_trainer(tmp_path)[0]
    trainer.load_state_dict({"iteration": 4, "epoch_length": NUM_STEPS, "max_epochs": 3})
    (tmp_path / "losses.csv").write_text("step,epoch,seconds,loss,learning_rate\n" + "4,1,9,1,0.25\n" * 4)
    trainer.run([0] * NUM_STEPS)
    assert [(row["step"], row["val_foreground_dice"][:3]) for row in read(tmp_path / "metrics.csv")] == [
        ("8", "0.2"),
        ("12", "0.3"),
    ]
    assert (tmp_path / "metrics.csv.former").read_text().splitlines() == former.splitlines()
    assert caplog.text.count("was of other metrics: it is kept as metrics.csv.former") == 1


def test_a_resumed_training_takes_back_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    trainer, log = make_trainer(tmp_path)
    trainer.run([0] * NUM_STEPS, max_epochs=2)
    state = log.state_dict()
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("9,3,0.0")  # killed in the middle of a line
    resumed, again = make_trainer(tmp_path)
    again.load_state_dict(state | {"seconds": 100.0})
    resumed.load_state_dict({"iteration": 6, "epoch_length": NUM_STEPS, "max_epochs": 2})
    resumed.run([0] * NUM_STEPS)
    losses = read(tmp_path / "losses.csv")
    assert [row["step"] for row in losses] == [str(step) for step in range(1, 9)]
    assert float(losses[-1]["seconds"]) >= 100 > float(losses[5]["seconds"])
    assert [row["step"] for row in read(tmp_path / "metrics.csv")] == ["4", "8"]
