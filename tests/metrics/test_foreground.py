from __future__ import annotations

import pytest
import torch

from leaf_seg.metrics import ForegroundCounts, ForegroundDice


def maps(*cases: list[int]) -> list[torch.Tensor]:
    """Label maps [1, 2, 4] with these class indices in their first row."""
    return [torch.tensor([[case, [0] * 4]]) for case in cases]


def test_the_pairs_that_count() -> None:
    """Cases are weighed alike, however many of their classes count."""
    metric = ForegroundDice(num_classes=3)
    metric(
        y_pred=maps([0, 1, 1, 2], [0, 1, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]),
        y=maps([0, 1, 1, 2], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]),
    )
    assert float(metric.aggregate()) == pytest.approx((1 + 0.5 + 0 + 0) / 4)  # of the fourth case no pair counts
    assert metric.positive_dice() == pytest.approx((1 + 0.5 + 0) / 3)
    assert metric.aggregate("mean_batch").tolist() == pytest.approx([(1 + 0.5 + 3) / 5, (1 + 1 + 0 + 1 + 0) / 5])
    assert metric.counts() == ForegroundCounts(false_positives=1, negatives=6, predicted_empty=1, with_foreground=3)
    assert metric.counts().warning() == "no foreground predicted in 1 of 3 cases with foreground"


def test_a_batch_is_scored_like_its_cases() -> None:
    generator = torch.Generator().manual_seed(0)
    pred, truth = (torch.randint(0, 3, (4, 1, 5, 5), generator=generator) for _ in range(2))
    whole, single = ForegroundDice(3), ForegroundDice(3)
    whole(pred, truth)
    for case in zip(pred, truth, strict=True):
        single(*([item] for item in case))
    assert float(whole.aggregate()) == pytest.approx(float(single.aggregate()))
    whole.reset()
    whole(torch.zeros_like(truth), truth)
    assert float(whole.aggregate()) == 0
    assert whole.counts().predicted_empty == 4
    whole.reset()
    whole(truth, truth)
    assert float(whole.aggregate()) == 1
    assert whole.counts().warning() is None
