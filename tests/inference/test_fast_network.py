"""Half-precision weights, fixed sizes and CUDA graphs: the answers are those of the plain network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.inference.fixed_sizes import CapturedCall, FixedSizes, fixed_size
from leaf_seg.networks import LatentSegmenter
from leaf_seg.networks.basic_unet import BasicUNetSegmenter
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError

CPU = torch.device("cpu")
Make = Callable[..., LatentSegmenter]


def dtypes(network: nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in network.parameters()}


@pytest.mark.parametrize("kind", ["kl", "tiny"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_half_weights_compute_in_half_and_answer_in_fp32(kind: str, channels_last: bool, make_segmenter: Make) -> None:
    network = make_segmenter(autoencoder=kind)
    fast = FastNetwork(copy.deepcopy(network), CPU, "bf16", channels_last)
    seen: list[torch.Tensor] = []
    assert isinstance(fast.network, LatentSegmenter)
    for part in fast.network.parts:
        part.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    image = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected, found = network(image), fast(image)
        several = fast.hypotheses(image, [0, 3], batch_size=4)
        torch.testing.assert_close(several[1], network.hypotheses(image, [3])[0], rtol=0, atol=0.05)
    assert dtypes(fast) == {torch.bfloat16}
    assert fast.network.noise.dtype == torch.float32
    assert [tensor.dtype for tensor in seen[:3]] == [torch.bfloat16] * 3
    if channels_last:
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)
    assert found.dtype == several.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
    torch.testing.assert_close(several[0], expected, rtol=0, atol=0.05)
    assert not torch.equal(found, expected)


def test_half_weights_of_a_baseline() -> None:
    network = BasicUNetSegmenter(3, (32, 32), features=(4, 4, 4, 4, 4, 4)).eval()
    fast = FastNetwork(copy.deepcopy(network), CPU, "bf16", channels_last=True)
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        found = fast(image)
        torch.testing.assert_close(found, network(image), rtol=0, atol=0.05)
    assert dtypes(fast) == {torch.bfloat16}
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 32, 32))


def test_fp32_with_channels_last_is_fp32(make_segmenter: Make) -> None:
    network = make_segmenter()
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(FastNetwork(network, CPU, channels_last=True)(image), expected)


def test_graphs_are_without_effect_on_a_cpu(make_segmenter: Make) -> None:
    network = make_segmenter()
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = network(image)
        assert torch.equal(FastNetwork(network, CPU, compile="cudagraphs")(image), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "fp16 needs a CUDA device, found cpu; use bf16 or fp32"),
        ({"precision": "half"}, "precision is 'half'; expected one of fp32, bf16, fp16"),
        ({"compile": "max"}, "compile is 'max'; expected one of off, default, cudagraphs"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str, make_segmenter: Make) -> None:
    with pytest.raises(InputError, match=message):
        FastNetwork(make_segmenter(), CPU, **options)


def test_sizes_are_few() -> None:
    assert [fixed_size(number) for number in (1, 2, 3, 5, 8, 9, 16, 17, 24, 25)] == [1, 2, 4, 8, 8, 16, 16, 24, 24, 32]


@pytest.mark.parametrize("number", [1, 3, 8, 11])
def test_batches_are_filled_up_and_cut_again(number: int, make_segmenter: Make) -> None:
    network = make_segmenter()
    sizes: list[int] = []
    network.image_encoder.register_forward_hook(lambda module, inputs, _: sizes.append(len(inputs[0])))
    image = torch.rand(number, 3, 16, 16)
    with torch.no_grad():
        expected = network(image)
        for name in network.stages:
            setattr(network, name, FixedSizes(getattr(network, name)))
        found = network(image)
    assert sizes == [number, fixed_size(number)]
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_compiled(make_segmenter: Make) -> None:
    network = make_segmenter()
    image = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(FastNetwork(network, CPU, compile="default")(image), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_graphs_answer_as_the_plain_network(precision: str, make_segmenter: Make) -> None:
    """Batch after batch of changing size; an answer stays when the next one comes."""
    device = torch.device("cuda", torch.cuda.current_device())
    network: SavedNetwork = make_segmenter()
    plain = FastNetwork(copy.deepcopy(network), device, precision, channels_last=True)
    fast = FastNetwork(network, device, precision, channels_last=True, compile="cudagraphs")
    images = [torch.rand(number, 3, 16, 16, device=device) for number in (4, 4, 3, 1, 4)]
    with torch.no_grad():
        found = [fast(image) for image in images]
        for image, answer in zip(images, found, strict=True):
            torch.testing.assert_close(answer, plain(image), rtol=1e-3, atol=1e-3 if precision == "fp32" else 2e-2)
        several = fast.hypotheses(images[0], [0, 1, 2], batch_size=8)
        expected = plain.hypotheses(images[0], [0, 1, 2], batch_size=8)
        torch.testing.assert_close(several, expected, rtol=1e-3, atol=1e-3 if precision == "fp32" else 2e-2)
    first_stage = fast.network.__dict__[network.stages[0]]
    assert isinstance(first_stage, FixedSizes)
    assert isinstance(first_stage.call, CapturedCall)
    assert len(first_stage.call._graphs) == 2  # of 4 and of 1
