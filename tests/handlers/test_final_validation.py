from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import ValidationHandler

from leaf_seg.engines import LeafEvaluator
from leaf_seg.handlers import FinalValidation
from leaf_seg.inferers import SegmentationInferer
from leaf_seg.networks import LatentSegmenter


@pytest.mark.parametrize(
    ("max_epochs", "interval", "expected"),
    [(1, 5, [1]), (5, 5, [5]), (7, 5, [5, 7]), (4, 2, [2, 4]), (3, 1, [1, 2, 3])],
)
def test_last_epoch_is_validated_once(
    max_epochs: int, interval: int, expected: list[int], make_segmenter: Callable[..., LatentSegmenter]
) -> None:
    evaluator = LeafEvaluator(
        device="cpu",
        network=make_segmenter(),
        val_data_loader=[{"image": torch.rand(1, 1, 16, 16)}],
        inferer=SegmentationInferer((16, 16)),
    )
    epochs: list[int] = []
    run = evaluator.run

    def note_and_run(global_epoch: int = 1) -> None:
        epochs.append(global_epoch)
        run(global_epoch)

    evaluator.run = note_and_run  # type: ignore[method-assign]
    trainer: Any = Engine(lambda engine, batch: None)
    ValidationHandler(interval, validator=evaluator, epoch_level=True).attach(trainer)
    FinalValidation(evaluator, interval).attach(trainer)
    trainer.run([0, 0], max_epochs=max_epochs)
    assert epochs == expected
