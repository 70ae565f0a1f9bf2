from __future__ import annotations

import numpy as np
import pytest
import torch

from leaf_seg.metrics import ExpectedDice
from leaf_seg.transforms.most_probable import most_probable


def expected_dice(probabilities: torch.Tensor, parts: int = 1) -> torch.Tensor:
    """Of class probabilities [K, N], seen in so many parts."""
    found = ExpectedDice()
    for part in probabilities.chunk(parts, dim=1):
        most_probable(part, found)
    return found.compute()


def test_by_hand() -> None:
    foreground = torch.tensor([0.9, 0.8, 0.4, 0.1])
    found = expected_dice(torch.stack([1 - foreground, foreground]))
    assert found.tolist() == pytest.approx([2 * 1.7 / (2 + 2.2)])


def test_close_to_the_mean_dice_with_truths_drawn_from_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    foreground = rng.beta(0.3, 0.3, 400)
    label = foreground > 0.5
    truths = rng.random((4000, 400)) < foreground
    dice = 2 * (truths & label).sum(axis=1) / (truths.sum(axis=1) + label.sum())
    probabilities = torch.from_numpy(np.stack([1 - foreground, foreground]))
    assert expected_dice(probabilities).item() == pytest.approx(dice.mean(), abs=0.002)


@pytest.mark.parametrize("parts", [2, 5, 30])
def test_parts_are_one_image(parts: int) -> None:
    torch.manual_seed(0)
    probabilities = (3 * torch.randn(4, 30)).softmax(dim=0)
    torch.testing.assert_close(expected_dice(probabilities, parts), expected_dice(probabilities))


def test_what_is_predicted_nowhere() -> None:
    """How sure that is: Dice would be 1 where it is in the truth nowhere either."""
    probabilities = torch.tensor([[0.9, 0.6, 0.5], [0.1, 0.4, 0.3], [0.0, 0.0, 0.2]])
    assert expected_dice(probabilities).tolist() == pytest.approx([0.6, 0.8])
    nothing = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert expected_dice(nothing).tolist() == [1.0]


def test_certain_is_one() -> None:
    label = torch.tensor([0, 1, 1, 0, 2])
    assert expected_dice(torch.nn.functional.one_hot(label).T.float()).tolist() == [1.0, 1.0]
