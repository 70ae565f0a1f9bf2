from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from leaf_seg.engines import ShareOfSteps, WeightAverage, trainable_parameters
from leaf_seg.networks import LatentSegmenter


def set_all(network: nn.Module, value: float) -> None:
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)


def values(network: nn.Module) -> set[float]:
    return {round(value, 6) for parameter in network.parameters() for value in parameter.flatten().tolist()}


def averaged(average: WeightAverage, network: nn.Module) -> float:
    with average.applied():
        (value,) = values(network)
    return value


@pytest.mark.parametrize("decay", [0.9999, 0.15])
def test_average_by_hand(decay: float) -> None:
    network = nn.Linear(2, 2)
    set_all(network, 5.0)
    average = WeightAverage(network, decay=decay)
    expected = 5.0
    for step, weight in enumerate([1.0, 2.0, -3.0, 0.5]):
        set_all(network, weight)
        average.step()
        present = 0.0 if step == 0 else min(decay, (1 + step) / (10 + step))
        expected = present * expected + (1 - present) * weight
        assert averaged(average, network) == pytest.approx(expected, abs=2e-6)
        assert values(network) == {weight}


def test_covers_what_trains(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    network = make_segmenter()
    trainable = trainable_parameters(network)
    names = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert names == {"image_encoder", "unet"}
    assert len(trainable) == len(list(network.unet.parameters())) + len(list(network.image_encoder.parameters()))

    average = WeightAverage(network)
    decoder = [parameter.clone() for parameter in network.mask_decoder.parameters()]
    set_all(network.unet, 1.0)
    set_all(network.image_encoder, 2.0)
    average.step()
    set_all(network.unet, 3.0)
    set_all(network.image_encoder, 4.0)
    with average.applied():
        assert values(network.unet) == {1.0}
        assert values(network.image_encoder) == {2.0}
        assert all(map(torch.equal, decoder, network.mask_decoder.parameters()))
    assert values(network.unet) == {3.0}
    assert values(network.image_encoder) == {4.0}


def test_restores_after_an_exception() -> None:
    network = nn.Linear(2, 2)
    set_all(network, 1.0)
    average = WeightAverage(network)
    set_all(network, 2.0)
    with pytest.raises(KeyError), average.applied():  # noqa: PT012
        assert values(network) == {1.0}
        raise KeyError
    assert values(network) == {2.0}
    assert averaged(average, network) == 1.0  # and works again


def test_the_optimizer_trains_on_after_the_swap() -> None:
    network = nn.Linear(2, 2)
    average = WeightAverage(network)
    parameters = list(network.parameters())
    with average.applied():
        pass
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_state_restores_average_and_step_count() -> None:
    def run(first: int, last: int, network: nn.Module, average: WeightAverage) -> None:
        for step in range(first, last):
            set_all(network, float(step))
            average.step()

    network = nn.Linear(2, 2)
    average = WeightAverage(network, decay=0.9)
    run(0, 3, network, average)
    buffer = io.BytesIO()
    torch.save(average.state_dict(), buffer)
    run(3, 6, network, average)

    other = nn.Linear(2, 2)
    resumed = WeightAverage(other, decay=0.9)
    resumed.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    run(3, 6, other, resumed)
    assert averaged(resumed, other) == averaged(average, network)


@pytest.mark.parametrize(("steps", "decay"), [(None, 0.998), (100_000, 0.998), (1000, 1 - 1 / 50), (10, 0)])
def test_looks_back_on_a_share_of_the_steps(steps: int | None, decay: float) -> None:
    average = WeightAverage(nn.Linear(2, 2), ShareOfSteps(500, 0.05))
    if steps is not None:
        average.plan(steps)
    assert average.state_dict()["decay"] == pytest.approx(decay)


def test_a_decay_that_was_given_stays() -> None:
    average = WeightAverage(nn.Linear(2, 2), 0.998)
    average.plan(10)
    assert average.state_dict()["decay"] == 0.998


def test_a_resumed_average_looks_back_as_it_did() -> None:
    kept = WeightAverage(nn.Linear(2, 2), 0.998).state_dict()
    resumed = WeightAverage(nn.Linear(2, 2), ShareOfSteps(500, 0.05))
    resumed.plan(10)
    resumed.load_state_dict(kept)
    assert resumed.state_dict()["decay"] == 0.998


def test_is_that_of_each_parameter_alone(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    network = make_segmenter()
    average, alone = WeightAverage(network, 0.9), EMAModel(trainable_parameters(network), decay=0.9)
    for _ in range(4):
        for parameter in trainable_parameters(network):
            parameter.data += torch.randn_like(parameter)
        average.step()
        alone.step(trainable_parameters(network))
    for mine, theirs in zip(average.state_dict()["shadow_params"], alone.shadow_params, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)  # the last bit may differ
