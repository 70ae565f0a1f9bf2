"""Overlaps of all pairs of two sets, against MONAI's and NumPy's of single pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from leaf_seg.metrics import mask_pairs as module
from leaf_seg.metrics.mask_pairs import mask_pairs


@pytest.mark.parametrize("shape", [(9, 7), (4, 5, 6)])
def test_every_pair_is_that_of_two_masks(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 16)  # several parts, the last one smaller
    first, second = torch.rand(3, *shape) > 0.4, torch.rand(4, *shape) > 0.7
    first[0] = second[0] = False
    pairs = mask_pairs(first, second)
    iou, dice, variance = pairs.iou(), pairs.dice(), pairs.variance()
    assert iou.shape == dice.shape == variance.shape == (3, 4)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            assert iou[i, j] == pytest.approx(float(compute_iou(a[None, None], b[None, None], ignore_empty=False)))
            assert dice[i, j] == pytest.approx(float(compute_dice(a[None, None], b[None, None], ignore_empty=False)))
            assert variance[i, j] == pytest.approx(float(np.var(a.numpy().astype(float) - b.numpy().astype(float))))
    assert iou[0, 0] == dice[0, 0] == 1


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="of one size"):
        mask_pairs(torch.zeros(1, 4, 4).bool(), torch.zeros(1, 4, 5).bool())
    with pytest.raises(ValueError, match="some"):
        mask_pairs(torch.zeros(0, 4, 4).bool(), torch.zeros(1, 4, 4).bool())
