from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader

from leaf_seg.engines import BundleTrainer, PrepareImageBatch, TrainingEvents
from leaf_seg.handlers import TrainingCheckpoint
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import CheckpointFolder

NUM_BATCHES, MAX_EPOCHS = 3, 2


def make_trainer(handler: Any, accumulation_steps: int = 1) -> BundleTrainer:
    network = nn.Conv2d(1, 1, 1)
    samples = [{"image": torch.rand(1, 4, 4)} for _ in range(NUM_BATCHES)]
    return BundleTrainer(
        device="cpu",
        max_epochs=MAX_EPOCHS,
        train_data_loader=DataLoader(samples),  # type: ignore[arg-type]
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.MSELoss(),
        prepare_batch=PrepareImageBatch(),
        train_handlers=[handler],
        accumulation_steps=accumulation_steps,
    )


class Recorder(CheckpointFolder):
    """Notes the steps of what it saves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[int] = []

    def save(self, state: dict[str, Any]) -> None:
        super().save(state)
        self.steps.append(state["iteration"])


@pytest.mark.parametrize(
    ("minutes", "accumulation_steps", "expected"),
    [(0, 1, [0, 1, 2, 3, 4, 5, 6, 6]), (0, 2, [0, 2, 3, 5, 6, 6]), (5, 1, [0, 6]), (0, 4, [0, 3, 6, 6])],
)
def test_saves_between_steps_when_due_and_at_the_end(
    minutes: float, accumulation_steps: int, expected: list[int], tmp_path: Path
) -> None:
    checkpoints = Recorder(tmp_path)
    make_trainer(TrainingCheckpoint(checkpoints, minutes), accumulation_steps).run()
    assert checkpoints.steps == expected
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["iteration"] == 6


def test_the_end_of_an_epoch_is_saved_after_its_validation(tmp_path: Path) -> None:
    happened: list[object] = []
    checkpoints = Recorder(tmp_path)

    class Validation:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: happened.append("validated"))

    trainer = make_trainer(Validation())
    TrainingCheckpoint(checkpoints, minutes=0).attach(trainer)
    trainer.add_event_handler(TrainingEvents.CHECKPOINT_STARTED, lambda: happened.append(trainer.state.iteration))
    trainer.run()
    assert happened == [0, 1, 2, "validated", 3, 4, 5, "validated", 6, 6]


def test_an_error_leaves_the_last_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Recorder(tmp_path)
    trainer = make_trainer(TrainingCheckpoint(checkpoints, minutes=0))

    def fail(engine: Any) -> None:
        if engine.state.iteration == 5:
            raise RuntimeError("power cut")

    trainer.add_event_handler(Events.ITERATION_STARTED, fail)
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.run()
    assert checkpoints.steps[-1] == 4
    assert "after step 5; the same command with --resume true goes on after step 4" in caplog.text


def test_a_complete_training_keeps_its_checkpoint(tmp_path: Path) -> None:
    """Its random state is not restored, since nothing is drawn any more, and so is kept."""
    make_trainer(TrainingCheckpoint(CheckpointFolder(tmp_path), minutes=5)).run()
    again = Recorder(tmp_path)
    before = again.load()
    assert before is not None
    trainer = make_trainer(TrainingCheckpoint(again, minutes=0))
    trainer.restore(before)
    torch.rand(3)  # what else the process does
    trainer.run()
    assert again.steps == [6]
    after = again.load()
    assert after is not None
    assert torch.equal(after["random"]["torch"], before["random"]["torch"])
    assert after["random"]["python"] == before["random"]["python"]


def test_a_resumed_start_is_not_saved_again(tmp_path: Path) -> None:
    """The random state is restored at the first step only."""
    checkpoints = Recorder(tmp_path)
    trainer = make_trainer(TrainingCheckpoint(checkpoints, minutes=0))
    trainer.add_event_handler(Events.ITERATION_STARTED(once=1), trainer.terminate)
    trainer.run()
    assert checkpoints.steps == [0]
    again = Recorder(tmp_path)
    resumed = make_trainer(TrainingCheckpoint(again, minutes=0))
    resumed.restore(again.load())
    resumed.run()
    assert again.steps[0] == 1


@pytest.mark.parametrize("minutes", [-1, "5m", None, True])
def test_minutes_that_are_none(minutes: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint_minutes is .*; expected minutes, 0 or more"):
        TrainingCheckpoint(CheckpointFolder(tmp_path), minutes)
