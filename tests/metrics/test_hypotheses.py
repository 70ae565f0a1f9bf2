from __future__ import annotations

import numpy as np
import pytest

from leaf_seg.metrics import agreement


def one_hot(label: list[list[int]], num_classes: int = 3) -> np.ndarray:
    return np.moveaxis(np.eye(num_classes)[np.array(label)], -1, 0)


def test_equal_hypotheses_agree() -> None:
    hypothesis = one_hot([[0, 1], [2, 2]])
    found = agreement([hypothesis] * 3)
    assert (found.entropy, found.variance, found.dice) == (0.0, 0.0, 1.0)


def test_different_hypotheses() -> None:
    first, second = one_hot([[0, 1, 1, 0]]), one_hot([[0, 1, 0, 0]])
    found = agreement([first, second])
    assert found.dice == pytest.approx((2 / 3 + 1) / 2)  # class 1: 2 / 3; class 2, absent from both: 1
    # In question are the pixels that are not background in both: one certain, one half and half.
    assert found.entropy == pytest.approx((0 + np.log(2)) / 2)
    assert found.variance == pytest.approx((0 + 2 * 0.25) / 2)


def test_dice_is_the_mean_over_all_pairs() -> None:
    hypotheses = [one_hot([[1, 1]], 2), one_hot([[1, 0]], 2), one_hot([[0, 0]], 2)]
    assert agreement(hypotheses).dice == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_clear_background_is_left_out() -> None:
    hypotheses = [np.stack([np.full((4, 4), p), np.full((4, 4), 1 - p)]) for p in (0.97, 0.99)]
    found = agreement(hypotheses)
    assert (found.entropy, found.variance, found.dice) == (0.0, 0.0, 1.0)


def test_one_hypothesis_is_none_to_compare() -> None:
    with pytest.raises(ValueError, match="two hypotheses"):
        agreement([one_hot([[1]])])
