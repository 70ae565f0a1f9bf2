from __future__ import annotations

import copy
import json
import warnings
from typing import Any

import pytest
import torch

from leaf_seg.errors import InputError
from leaf_seg.networks import BasicUNetSegmenter

SIZE = (32, 48)


def make_unet(num_classes: int = 3, seed: int = 0, **arguments: Any) -> BasicUNetSegmenter:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"image_size": SIZE, "features": (4, 4, 8, 8, 8, 4)}
    return BasicUNetSegmenter(num_classes, **(options | arguments)).eval()


@pytest.mark.parametrize("num_classes", [2, 3, 6])
@pytest.mark.parametrize("training", [True, False])
def test_probabilities_of_grey_and_colour_images(num_classes: int, training: bool) -> None:
    network = make_unet(num_classes).train(training)
    grey = torch.rand(2, 1, *SIZE)
    probabilities = network(grey)
    assert probabilities.shape == (2, num_classes, *SIZE)
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, *SIZE))
    assert probabilities.std(dim=(2, 3)).max() > 1e-3
    torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), probabilities)
    assert not torch.allclose(network(torch.rand(2, 3, *SIZE)), probabilities, atol=1e-3)


def test_logits_are_those_of_the_probabilities() -> None:
    network, image = make_unet(), torch.rand(2, 3, *SIZE)
    logits = network(image, return_logits=True)
    assert logits.min() < 0
    torch.testing.assert_close(logits.softmax(dim=1), network(image))


def test_output_is_fp32_under_mixed_precision() -> None:
    network, image = make_unet(), torch.rand(2, 3, *SIZE)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, probabilities = network(image, return_logits=True), network(image)
    assert logits.dtype == probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, *SIZE))
    torch.testing.assert_close(probabilities, network(image), rtol=0, atol=0.05)


def test_training_reaches_every_parameter() -> None:
    """Else DistributedDataParallel would wait for gradients that never come."""
    network = make_unet().train()
    network(torch.rand(2, 3, *SIZE), return_logits=True).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    kernels = [parameter.grad for parameter in network.parameters() if parameter.ndim == 4]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in kernels)


def test_weight_average_covers_all_of_it() -> None:
    """Running statistics would be buffers, which the average leaves out."""
    assert not list(make_unet().buffers())


@torch.no_grad()
def test_result_does_not_depend_on_the_batch() -> None:
    network, images = make_unet(), torch.rand(5, 3, *SIZE)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-5, atol=1e-5)


def test_built_again_from_its_config() -> None:
    network = make_unet(6, features=(8, 4, 8, 16, 8, 12), dropout=0.25)
    assert (network.num_classes, network.image_size) == (6, SIZE)
    again = BasicUNetSegmenter.from_config(json.loads(json.dumps(network.config)))
    again.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, *SIZE)
    assert torch.equal(again.eval()(image), network(image))
    assert again.config == network.config
    assert {module.p for module in again.modules() if isinstance(module, torch.nn.Dropout)} == {0.25}


def test_dropout_acts_in_training_only() -> None:
    network, image = make_unet(dropout=0.5), torch.rand(1, 3, *SIZE)
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


@torch.no_grad()
def test_copy_and_trace() -> None:
    network, image = make_unet(), torch.rand(3, 3, *SIZE)
    assert torch.equal(copy.deepcopy(network)(image), network(image))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.rand(2, 3, *SIZE))
    torch.testing.assert_close(traced(image), network(image))


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (40, 72)])
def test_sizes_that_are_no_multiple_of_16(size: tuple[int, int]) -> None:
    assert make_unet(image_size=size)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(16, 16), (31, 64), (64, 8)])
def test_sizes_that_are_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"image_size .* does not fit.*at least 32"):
        make_unet(image_size=size)


def test_features_of_another_number_of_levels() -> None:
    with pytest.raises(InputError, match=r"features is \[8, 16\]; expected six"):
        make_unet(features=(8, 16))
