from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from leaf_seg.handlers import EvaluationProgress, TrainingProgress

STEPS = [{"loss": torch.tensor(value), "loss_alignment": torch.tensor(-0.5)} for value in (4.0, 2.0, 2.0)]


@pytest.mark.parametrize("is_decollated", [True, False])
def test_training_bar_spans_all_epochs_and_shows_the_losses(
    is_decollated: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(lambda engine, step: [step, step] if is_decollated else step)
    TrainingProgress(smoothing=0.5).attach(engine)
    engine.run(STEPS, max_epochs=2)
    shown = capsys.readouterr().err.replace("\n", "\r").split("\r")
    last = [line for line in shown if line.strip()][-1]
    assert last.startswith("Training: 100%")
    assert "6/6" in last
    assert "loss=2.3" in last  # 4, 3, 2.5, 3.25, 2.625, 2.3125
    assert "alignment=-0.5" in last
    assert any("0/6" in line for line in shown)


@pytest.mark.parametrize("progress", [TrainingProgress(), EvaluationProgress()])
def test_errors_go_through(progress: TrainingProgress | EvaluationProgress) -> None:
    def fail(engine: Engine, step: object) -> None:
        raise KeyError("the step failed")

    engine = Engine(fail)
    progress.attach(engine)
    with pytest.raises(KeyError, match="the step failed"):
        engine.run([0, 1])


def test_evaluation_bar_counts_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(lambda engine, step: None)
    EvaluationProgress("Testing", persist=True).attach(engine)
    engine.run([0, 1, 2])
    shown = capsys.readouterr().err
    assert "Testing" in shown
    assert "3/3" in shown
