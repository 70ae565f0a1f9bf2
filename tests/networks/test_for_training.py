"""A network made ready to train gives what it gave before."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, build_conditional_unet, placed, ready_to_train
from leaf_seg.networks.packed_dropout import PackedDropout
from leaf_seg.runtime.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def network(make_segmenter: Callable[..., LatentSegmenter]) -> LatentSegmenter:
    return make_segmenter().train()


def step(network: LatentSegmenter) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Output of a training step, and gradients."""
    generator = torch.Generator().manual_seed(1)
    size = network.image_size
    image = torch.rand(2, 3, *size, generator=generator)
    latent = torch.randn(2, *network.noise.shape[1:], generator=generator)
    output = network(image, latent, torch.tensor([3, 900]))
    output.square().mean().backward()
    return output.detach(), {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "options",
    [
        {"channels_last": True},
        {"gradient_checkpointing": True},
        {"channels_last": True, "gradient_checkpointing": True},
    ],
    ids=str,
)
def test_output_and_gradients_stay(network: LatentSegmenter, options: dict[str, Any]) -> None:
    expected, expected_gradients = step(copy.deepcopy(network))
    state = network.state_dict().keys()
    found, found_gradients = step(ready_to_train(network, CPU, **options))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert network.state_dict().keys() == state
    assert found_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
def test_a_compiled_network_gives_the_same_and_shows_the_layer_to_align(
    make_segmenter: Callable[..., LatentSegmenter],
) -> None:
    options = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [32]}
    unet = build_conditional_unet({**options, "layers_per_block": 1}, num_mask_latents=1)
    network = make_segmenter(unet=unet, autoencoder="tiny").train()  # compiled in less time
    expected, expected_gradients = step(copy.deepcopy(network))
    ready_to_train(network, CPU, compile="default")
    seen: list[torch.Tensor] = []
    network.unet.down_blocks[0].resnets[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    for _ in range(2):
        network.zero_grad()
        found, found_gradients = step(network)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        for name, gradient in expected_gradients.items():
            torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-2, atol=1e-4, msg=name)
    assert len(seen) == 2


def test_gradient_checkpointing_keeps_fewer_activations(network: LatentSegmenter) -> None:
    def kept(network: LatentSegmenter) -> int:
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        generator = torch.Generator().manual_seed(1)
        image = torch.rand(2, 3, *network.image_size, generator=generator)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(image, torch.randn(2, *network.noise.shape[1:]), torch.tensor([3, 900]))
        return sum(sizes)

    full = kept(copy.deepcopy(network))
    assert kept(ready_to_train(network, CPU, gradient_checkpointing=True)) < 0.9 * full


def test_dropout_is_repeated_by_gradient_checkpointing(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    network = make_segmenter(encoder_dropout=0.3).train()
    results = []
    for copied, checkpointing in ((copy.deepcopy(network), False), (network, True)):
        ready = ready_to_train(copied, CPU, gradient_checkpointing=checkpointing)
        assert any(isinstance(module, PackedDropout) for module in ready.modules())
        torch.manual_seed(5)
        results.append(step(copied))
    (output, gradients), (other_output, other_gradients) = results
    torch.testing.assert_close(other_output, output)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": "max"}, "compile is 'max'; expected one of off, default, cudagraphs."),
        ({"compile": "cudagraphs"}, "compile cudagraphs needs a CUDA device, found cpu; use off or default."),
        ({"gradient_checkpointing": True}, "BasicUNetSegmenter has no blocks that can compute their activations again"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ready_to_train(BasicUNetSegmenter(2, (32, 32)), CPU, **options)


def test_the_device_may_be_a_name(network: LatentSegmenter) -> None:
    """As MONAI Label gives it."""
    assert ready_to_train(network, "cpu", channels_last=True) is network


def test_false_on_a_command_line_is_false(network: LatentSegmenter) -> None:
    before = [type(module) for module in network.modules() if not isinstance(module, torch.nn.Dropout | PackedDropout)]
    ready_to_train(network, CPU, channels_last="false", gradient_checkpointing="no")
    after = [type(module) for module in network.modules() if not isinstance(module, torch.nn.Dropout | PackedDropout)]
    assert after == before
    assert not any(getattr(module, "gradient_checkpointing", False) for module in network.modules())
    with pytest.raises(InputError, match="channels_last is 'perhaps', which"):
        placed(torch.nn.Conv2d(2, 2, 3), CPU, channels_last="perhaps")


@pytest.mark.parametrize("last", [True, "true", False, "false"])
def test_a_module_that_is_not_trained(last: bool | str) -> None:
    convolution = placed(torch.nn.Conv2d(2, 2, 3), CPU, channels_last=last)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last) == (str(last).lower() == "true")
