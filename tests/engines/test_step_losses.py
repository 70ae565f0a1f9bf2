"""On a CPU; that the losses lie on a GPU is feigned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import DataLoader

from leaf_seg.engines import BundleTrainer, PrepareImageBatch, StepLosses, StepRecord, TrainingEvents, step_losses
from leaf_seg.engines import trainer as trainer_module
from leaf_seg.handlers import TrainingCheckpoint
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import CheckpointFolder


class Notes:
    """The numbers of the steps that were read together."""

    def __init__(self, **options: Any) -> None:
        self.reads: list[list[int]] = []
        self.records: list[StepRecord] = []
        self.losses = StepLosses(self._note, **options)

    def _note(self, engine: Engine, records: Sequence[StepRecord]) -> None:
        self.reads.append([record.step for record in records])
        self.records += records


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let losses be as on a GPU."""
    for module in (step_losses, trainer_module):
        monkeypatch.setattr(module, "is_far", lambda loss: isinstance(loss, torch.Tensor))
    monkeypatch.setattr(step_losses, "STEPS_PER_READ", 3)


def make_engine(fail_at: int | None = None) -> Engine:
    def step(engine: Engine, batch: int) -> dict[str, Any]:
        if engine.state.iteration == fail_at:
            raise KeyError("the step failed")
        return {"loss": torch.tensor(1 / engine.state.iteration), "loss_alignment": -0.5}

    return Engine(step)


def test_each_step_at_once_on_a_cpu() -> None:
    notes, engine = Notes(), make_engine()
    notes.losses.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: read.append(len(notes.records)))
    read: list[int] = []
    engine.run([0] * 4, max_epochs=2)
    assert notes.reads == [[step] for step in range(1, 9)]
    assert read == list(range(1, 9))
    assert [record.losses for record in notes.records] == [
        {"loss": pytest.approx(1 / step), "loss_alignment": -0.5} for step in range(1, 9)
    ]
    assert [record.epoch for record in notes.records] == [1] * 4 + [2] * 4
    times = [record.time for record in notes.records]
    assert times == sorted(times)


@pytest.mark.usefixtures("far")
def test_some_steps_at_a_time_on_a_gpu_and_at_the_end_of_an_epoch() -> None:
    notes, engine = Notes(), make_engine()
    notes.losses.attach(engine)
    read: list[int] = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: read.append(len(notes.records)))
    engine.run([0] * 4, max_epochs=2)
    assert notes.reads == [[1, 2, 3], [4], [5, 6, 7], [8]]
    assert read == [4, 8]
    assert [record.losses["loss"] for record in notes.records] == pytest.approx([1 / step for step in range(1, 9)])
    assert {record.losses["loss_alignment"] for record in notes.records} == {-0.5}
    assert all(type(record.losses["loss"]) is float for record in notes.records)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("after_error", [True, False])
def test_what_is_waiting_when_an_error_comes(after_error: bool) -> None:
    notes, engine = Notes(after_error=after_error), make_engine(fail_at=6)
    notes.losses.attach(engine)

    @engine.on(Events.EXCEPTION_RAISED)
    def reraise(engine: Engine, error: BaseException) -> None:
        raise error

    with pytest.raises(KeyError):
        engine.run([0] * 8)
    assert notes.reads == [[1, 2, 3]] + [[4, 5]] * after_error


@pytest.mark.usefixtures("far")
def test_what_is_waiting_when_a_training_is_ended() -> None:
    notes, engine = Notes(), make_engine()
    notes.losses.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda engine: engine.terminate())
    engine.run([0] * 8)
    assert notes.reads == [[1, 2, 3], [4, 5]]


def make_trainer(bad_step: int | None, *handlers: Any) -> BundleTrainer:
    """A trainer of eight steps, whose input is not a number at one of them."""
    network = nn.Conv2d(1, 1, 1)
    samples = [{"image": torch.full((1, 4, 4), float("nan") if i + 1 == bad_step else 1.0)} for i in range(8)]
    return BundleTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(samples),  # type: ignore[arg-type]
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.MSELoss(),
        prepare_batch=PrepareImageBatch(),
        train_handlers=list(handlers),
    )


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize(("bad_step", "last_step"), [(2, 3), (4, 6), (8, 8)])
def test_a_loss_that_is_not_finite_is_an_error_before_anything_is_validated(bad_step: int, last_step: int) -> None:
    notes = Notes()
    trainer = make_trainer(bad_step, notes.losses)
    later: list[str] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: later.append("validation"))
    trainer.add_event_handler(Events.COMPLETED, lambda: later.append("last validation"))
    with pytest.raises(InputError, match=f"The loss is nan at step {bad_step}, epoch 1"):
        trainer.run()
    assert trainer.state.iteration == last_step
    assert not later
    assert bad_step in [record.step for record in notes.records]  # the log has it, too


@pytest.mark.usefixtures("far")
def test_a_validation_between_steps_has_every_step_before_it() -> None:
    notes = Notes()
    trainer = make_trainer(None, notes.losses)
    validate = trainer.fire_event
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: validate(TrainingEvents.VALIDATION_STARTED))
    trainer.run()
    assert notes.reads == [[1, 2, 3], [4], [5, 6, 7], [8]]


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("bad_step", [1, 2])
def test_spoilt_weights_are_not_in_a_checkpoint(bad_step: int, tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    trainer = make_trainer(bad_step, TrainingCheckpoint(checkpoints, minutes=0))
    with pytest.raises(InputError, match=f"at step {bad_step}"):
        trainer.run()
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == bad_step - 1
    assert all(value.isfinite().all() for value in state["parts"]["network"].values())


@pytest.mark.usefixtures("far")
def test_no_step_waits_for_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[torch.Tensor] = []
    item = torch.Tensor.item

    def note(tensor: torch.Tensor) -> Any:
        read.append(tensor)
        return item(tensor)

    monkeypatch.setattr(torch.Tensor, "item", note)
    monkeypatch.setattr(torch.Tensor, "__float__", note)
    make_trainer(None, Notes().losses).run()
    assert not [tensor for tensor in read if tensor.is_floating_point()]  # the loader draws a seed


def test_the_record_has_the_rate_and_the_output_no_graph() -> None:
    notes = Notes()
    trainer = make_trainer(None, notes.losses)
    outputs: list[dict[str, torch.Tensor]] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    trainer.run()
    assert {record.learning_rate for record in notes.records} == {0.1}
    assert not any(value.requires_grad for output in outputs for value in output.values())
    assert TrainingEvents.CHECKPOINT_STARTED in trainer._allowed_events
