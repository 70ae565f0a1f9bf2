"""What two processes decide together: what a metric is where one has no case, and whether a scaled step is skipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.handlers import IgniteMetricHandler, from_engine
from monai.transforms import AsDiscreted
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from leaf_seg.data import CaseShard
from leaf_seg.engines import WeightAverage
from leaf_seg.handlers import ClassDice, ForegroundReport
from leaf_seg.metrics import ForegroundDice
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.distributed import rank
from tests.engines.test_evaluator import BATCHES, make_evaluator
from tests.engines.test_trainer import copy_weights, make_trainer, warmup
from tests.two_processes import in_two_processes

Make = Callable[..., LatentSegmenter]
EVENTS = (Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED)


def evaluated(network: LatentSegmenter) -> dict[str, Any]:
    """The metrics of one case, measured twice, as the configs do."""
    cases = [{key: value[0] for key, value in BATCHES[0].items()}]
    metric = ForegroundDice(network.num_classes)
    names = ["background", *(f"class_{index}" for index in range(1, network.num_classes))]
    evaluator = make_evaluator(
        network,
        val_data_loader=DataLoader(cases, sampler=CaseShard(cases)),  # type: ignore[arg-type]
        decollate=True,
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric={"val_dice": IgniteMetricHandler(metric, output_transform=from_engine(["pred", "label"]))},
        val_handlers=[ClassDice(metric, names), ForegroundReport(metric)],
    )
    events: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: events.append(name)

    for event in EVENTS:
        evaluator.add_event_handler(event, note(event.name))
    for epoch in (1, 2):
        evaluator.run(epoch)
    state: Any = evaluator.state
    return {"metrics": state.metrics, "best": (state.best_metric, state.best_metric_epoch), "events": events}


@pytest.mark.dist
def test_a_process_may_have_no_case(make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter()
    one = evaluated(network)
    first, second = in_two_processes(evaluated, tmp_path, network)
    assert first == one
    assert second["metrics"] == one["metrics"]
    assert second["best"] == one["best"]
    assert second["events"] == [name for name in one["events"] if name != "ITERATION_STARTED"]


def trained_with_scaled_loss(network: LatentSegmenter, overflow: int) -> dict[str, Any]:
    """In the second process the gradients of one step are too large."""
    average = WeightAverage(network.double(), decay=0.9)
    trainer = make_trainer(
        network,
        lr_scheduler=warmup,
        max_grad_norm=0.1,
        ema=average,
        max_epochs=2,
    )
    trainer.network = DistributedDataParallel(network)
    torch.cuda.amp.GradScaler = partial(torch.amp.GradScaler, "cpu", init_scale=1024.0)  # type: ignore  # as on CUDA
    trainer.amp = True
    weights, scales, rates = [copy_weights(network)], [], []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        is_here = trainer.state.iteration == overflow and rank() == 1
        return gradient * torch.inf if is_here else gradient

    def note() -> None:
        assert trainer.scaler is not None
        weights.append(copy_weights(network))
        scales.append(trainer.scaler.get_scale())
        rates.append(trainer.optimizer.param_groups[0]["lr"])

    next(network.unet.parameters()).register_hook(spoil)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    return {"weights": weights, "scales": scales, "rates": rates, "average": average.state_dict()}


@pytest.mark.dist
def test_a_step_is_skipped_by_all(make_segmenter: Make, tmp_path: Path) -> None:
    """As fp16 does when the scaled gradients of one process overflow: the sum over all is not finite in any."""
    first, second = in_two_processes(trained_with_scaled_loss, tmp_path, make_segmenter(), 3)
    assert first["scales"] == second["scales"] == [1024, 1024, 512, 512]
    assert first["rates"] == second["rates"] == pytest.approx([0.0025, 0.005, 0.005, 0.0075])
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
    torch.testing.assert_close(first["average"], second["average"], rtol=0, atol=0)
    moved = [
        any(not torch.equal(before[name], after[name]) for name in before)
        for before, after in zip(first["weights"], first["weights"][1:], strict=False)
    ]
    assert moved == [False, True, False, True], "the rate of the first step is 0, and the third one is skipped"
