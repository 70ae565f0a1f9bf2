from __future__ import annotations

import pytest
import torch

from leaf_seg.transforms.temperature import tempered


def test_it_is_temperature_scaling_of_the_logits() -> None:
    logits = 3 * torch.randn(4, 5, 6)
    for temperature in (0.3, 2.0, 7.0):
        expected = (logits / temperature).softmax(dim=0)
        torch.testing.assert_close(tempered(logits.softmax(dim=0), temperature), expected, rtol=1e-4, atol=1e-4)


def test_one_changes_nothing() -> None:
    probabilities = torch.rand(2, 3)
    assert tempered(probabilities, 1) is probabilities


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3, 20])
def test_certain_and_even_probabilities_have_finite_ones(temperature: float) -> None:
    """By hand: 0 counts as 1e-6."""
    found = tempered(torch.tensor([[1.0, 1 / 3], [0.0, 1 / 3], [0.0, 1 / 3]]), temperature)
    least = 1e-6 ** (1 / temperature)
    torch.testing.assert_close(found[:, 0], torch.tensor([1, least, least]) / (1 + 2 * least))
    torch.testing.assert_close(found[:, 1], torch.full((3,), 1 / 3))
