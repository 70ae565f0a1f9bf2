"""Dropout whose mask takes few random numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from leaf_seg.networks.packed_dropout import PackedDropout, pack_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_elements_are_dropped_and_the_rest_is_scaled(dtype: torch.dtype, layout: torch.memory_format) -> None:
    image = torch.ones(3, 7, 101, 33, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    torch.manual_seed(0)
    result = PackedDropout(0.2)(image)
    result.sum().backward()
    dropped = result == 0
    assert abs(dropped.double().mean().item() - 0.2) < 0.006  # four standard deviations
    torch.testing.assert_close(result[~dropped], torch.full_like(result[~dropped], 1.25), rtol=1e-4, atol=0)
    assert image.grad is not None
    assert torch.equal(image.grad == 0, dropped)
    assert result.is_contiguous(memory_format=layout)


def test_neighbours_are_dropped_independently() -> None:
    """Four elements share a random number."""
    torch.manual_seed(0)
    kept = (PackedDropout(0.5)(torch.ones(400_000)) > 0).float().view(-1, 4)
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


def test_one_seed_gives_one_mask() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(PackedDropout(0.3)(torch.ones(10, 10)))
    assert torch.equal(*results)
    assert not torch.equal(results[0], PackedDropout(0.3)(torch.ones(10, 10)))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_all_or_nothing_is_that_of_pytorch(probability: float) -> None:
    assert torch.equal(PackedDropout(probability)(torch.ones(5)), torch.full((5,), 1 - probability))


def test_evaluation_drops_nothing() -> None:
    image = torch.ones(5)
    assert PackedDropout(0.9).eval()(image) is image


def test_only_what_drops_is_exchanged() -> None:
    network = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.0), nn.Dropout2d(0.2))).eval()
    pack_dropout(network)
    kinds = [type(module) for module in network.modules() if not isinstance(module, nn.Sequential)]
    assert kinds == [PackedDropout, nn.Dropout, nn.Dropout2d]
    assert not network[0].training
