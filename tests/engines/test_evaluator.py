from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.handlers import MeanDice, from_engine
from monai.transforms import AsDiscreted

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.engines import BundleEvaluator, WeightAverage, trainable_parameters
from leaf_seg.handlers import ModelSaver
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import load_network

Make = Callable[..., LatentSegmenter]
Weights = dict[str, torch.Tensor]
BATCHES = [
    {
        "image": torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(index)),
        "label": torch.ones(1, 1, 20, 24, dtype=torch.uint8),
    }
    for index in range(2)
]


def make_evaluator(network: LatentSegmenter, **options: Any) -> BundleEvaluator:
    arguments: dict[str, Any] = {
        "inferer": SegmentationInferer((16, 16)),
        "val_data_loader": BATCHES,
        "decollate": False,
    }
    return BundleEvaluator(device="cpu", network=network, **(arguments | options))


def predictions(evaluator: BundleEvaluator) -> list[torch.Tensor]:
    outputs: list[torch.Tensor] = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda e: outputs.append(e.state.output["pred"].clone()))
    evaluator.run()
    return outputs


def copy_weights(network: torch.nn.Module) -> Weights:
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def trained(make_segmenter: Make) -> tuple[LatentSegmenter, WeightAverage]:
    """A network in training mode whose weights have left their average: those of ``make_segmenter()``."""
    network = make_segmenter()
    average = WeightAverage(network)
    for parameter in trainable_parameters(network):
        torch.nn.init.normal_(parameter, std=0.1)
    return network.train(), average


def test_evaluates_the_averaged_weights(trained: tuple[LatentSegmenter, WeightAverage], make_segmenter: Make) -> None:
    network, average = trained
    by_average = predictions(make_evaluator(network, ema=average))
    expected = predictions(make_evaluator(make_segmenter()))
    assert len(by_average) == 2
    assert all(map(torch.equal, by_average, expected))
    as_it_is = predictions(make_evaluator(network))
    assert (as_it_is[0] - by_average[0]).abs().max() > 1e-3


def test_leaves_the_network_as_it_was(trained: tuple[LatentSegmenter, WeightAverage]) -> None:
    network, average = trained
    before = copy_weights(network)
    modes = [module.training for module in network.modules()]
    assert any(modes)
    make_evaluator(network, ema=average).run()
    assert equal(copy_weights(network), before)
    assert [module.training for module in network.modules()] == modes


def test_restores_the_network_when_evaluation_fails(trained: tuple[LatentSegmenter, WeightAverage]) -> None:
    network, average = trained
    before = copy_weights(network)
    evaluator = make_evaluator(network, ema=average, val_data_loader=[{"image": torch.rand(1, 2, 16, 16)}])
    with pytest.raises(ValueError, match="2 channels"):
        evaluator.run()
    assert equal(copy_weights(network), before)


def test_network_is_in_evaluation_mode_without_gradients(trained: tuple[LatentSegmenter, WeightAverage]) -> None:
    network, average = trained
    modes = []
    network.unet.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    make_evaluator(network, ema=average).run()
    assert modes == [(False, False)] * 2


def test_saved_model_holds_the_averaged_weights(
    trained: tuple[LatentSegmenter, WeightAverage], make_segmenter: Make, tmp_path: Path
) -> None:
    network, average = trained
    evaluator = make_evaluator(
        network,
        ema=average,
        decollate=True,
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric={
            "val_foreground_dice": MeanDice(output_transform=from_engine(["pred", "label"]), num_classes=3)
        },
        val_handlers=[ModelSaver(network, ModelSettings(["background", "a", "b"], [16, 16]), str(tmp_path))],
    )
    evaluator.run(global_epoch=3)
    assert equal(copy_weights(load_network(tmp_path)), copy_weights(make_segmenter()))
    assert evaluator.state.best_metric_epoch == 3


def test_uncertainty_maps_become_outputs(make_segmenter: Make) -> None:
    network = make_segmenter()
    inferer = SegmentationInferer((16, 16), num_samples=3, uncertainty=True)
    evaluator = make_evaluator(network, inferer=inferer)
    outputs: list[dict[str, torch.Tensor]] = []
    evaluator.add_event_handler(IterationEvents.MODEL_COMPLETED, lambda engine: outputs.append(engine.state.output))
    evaluator.run()
    with torch.no_grad():
        expected = inferer(BATCHES[0]["image"], network)
    for name in ("pred", "expected_dice", "variance", "entropy"):
        assert torch.equal(outputs[0][name], getattr(expected, name))
