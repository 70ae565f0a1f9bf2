"""Separate structures, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_panoptic_quality
from scipy.ndimage import gaussian_filter, label

from leaf_seg.metrics import count_lesions


def rows(*texts: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in text] for text in texts])


def test_by_hand() -> None:
    """Of three true ones the first is found with IoU 2/3, the second only touched; the third is missed."""
    truth = rows("###..##....#", "...........#", "............")
    pred = rows("##....####..", "............", "#...........")
    counts = count_lesions(pred, truth)
    assert (counts.found, counts.made_up, counts.missed) == (1, 2, 2)
    assert counts.precision == pytest.approx(1 / 3)
    assert counts.recall == pytest.approx(1 / 3)
    assert counts.pq == pytest.approx((2 / 3) / (1 + 2 / 2 + 2 / 2))


def test_half_is_not_enough() -> None:
    assert count_lesions(rows("##.."), rows("####")).found == 0
    assert count_lesions(rows("###."), rows("####")).found == 1


def test_panoptic_quality_is_that_of_monai() -> None:
    blobs = gaussian_filter(np.random.default_rng(0).normal(size=(2, 64, 64)), (0, 2, 2))
    truth, pred = blobs[0] > 0.05, blobs[0] + 0.4 * blobs[1] > 0.05
    parts = [torch.from_numpy(label(mask, np.ones((3, 3)))[0]) for mask in (pred, truth)]
    counts = count_lesions(pred, truth)
    expected = compute_panoptic_quality(parts[0], parts[1], match_iou_threshold=0.5)
    assert counts.pq == pytest.approx(float(expected), abs=1e-4)
    assert min(counts.found, counts.made_up, counts.missed) > 2


@pytest.mark.parametrize("dimension", [2, 3])
def test_parts_that_touch_at_a_corner_are_one(dimension: int) -> None:
    mask = np.zeros((4,) * dimension, bool)
    mask[(0,) * dimension] = mask[(1,) * dimension] = True
    counts = count_lesions(mask, mask)
    assert (counts.found, counts.made_up, counts.missed, counts.pq) == (1, 0, 0, 1)


def test_one_that_covers_two_is_the_partner_of_one_at_most() -> None:
    counts = count_lesions(rows("#####"), rows("###.#"))
    assert (counts.found, counts.made_up, counts.missed) == (1, 0, 1)
    assert counts.iou == pytest.approx(3 / 5)


def test_nothing_is_undefined_and_not_perfect() -> None:
    nothing, something = rows("...."), rows("#...")
    counts = count_lesions(nothing, nothing)
    assert all(math.isnan(value) for value in (counts.precision, counts.recall, counts.pq))
    counts = count_lesions(something, nothing)
    assert (counts.precision, counts.pq) == (0, 0)
    assert math.isnan(counts.recall)
    counts = count_lesions(nothing, something)
    assert (counts.recall, counts.pq) == (0, 0)
    assert math.isnan(counts.precision)
    with pytest.raises(ValueError, match="differ in shape"):
        count_lesions(nothing, rows("#"))
