"""Channels last in memory, and the norm that goes with it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from leaf_seg.networks.channels_last import ChannelsLastGroupNorm, SiLUOfNorm, exchange_norms, use_channels_last


def gradients(norm: nn.GroupNorm, image: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    norm.zero_grad()
    image = image.detach().requires_grad_()
    result = norm(image)
    result.backward(upstream)
    assert image.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    return [result.detach(), image.grad, norm.weight.grad.clone(), norm.bias.grad.clone()]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("size", [(2, 32, 9, 7), (3, 128, 60, 50)])  # the second one in several chunks
def test_the_gradients_are_those_of_pytorch(dtype: torch.dtype, tolerance: float, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    image = torch.randn(size, dtype=dtype).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(size, dtype=dtype)
    norm = nn.GroupNorm(16, size[1], dtype=torch.promote_types(dtype, torch.float32))
    nn.init.normal_(norm.weight)
    own = ChannelsLastGroupNorm.of(copy.deepcopy(norm))
    for found, expected in zip(gradients(own, image, upstream), gradients(norm, image, upstream), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))
        assert found.dtype == expected.dtype


def test_another_layout_is_left_to_pytorch() -> None:
    norm = nn.GroupNorm(2, 4)
    image = torch.randn(1, 4, 5, 5, requires_grad=True)
    assert "_GroupNorm" not in str(ChannelsLastGroupNorm.of(norm)(image).grad_fn)
    last = image.contiguous(memory_format=torch.channels_last)
    assert "_GroupNorm" in str(ChannelsLastGroupNorm.of(norm)(last).grad_fn)


def test_a_network_keeps_its_state_and_computes_with_channels_last() -> None:
    network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 8, 3))
    state = copy.deepcopy(network.state_dict())
    image = torch.randn(2, 3, 12, 12)
    expected = network(image)
    parameters = list(network.parameters())
    use_channels_last(network)
    exchange_norms(network)
    assert [type(network[place]) for place in (1, 2)] == [ChannelsLastGroupNorm, SiLUOfNorm]
    assert [id(parameter) for parameter in network.parameters()] == [id(parameter) for parameter in parameters]
    assert state.keys() == network.state_dict().keys()
    found = network(image)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silu_behind_the_norm_keeps_nothing_and_has_the_same_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 4, 3))
    own = copy.deepcopy(plain)
    for network in (plain, own):
        use_channels_last(network)
    exchange_norms(own)
    image = torch.randn(2, 3, 20, 20)
    results = []
    for network in (plain, own):
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            if tensor.shape[1:] == (32, 18, 18):
                kept[tensor.data_ptr()] = 1
            return tensor

        with (
            torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            result = network(image)
        result.float().square().mean().backward()
        results.append((len(kept), [parameter.grad for parameter in network.parameters()]))
    (plain_kept, expected), (own_kept, found) = results
    assert (plain_kept, own_kept) == (3, 2)
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=0.02 if dtype == torch.bfloat16 else 1e-4, atol=1e-3)


def test_silu_elsewhere_is_that_of_pytorch() -> None:
    image = torch.randn(5, requires_grad=True)
    assert "SiLUOfNorm" not in str(SiLUOfNorm()(image).grad_fn)
