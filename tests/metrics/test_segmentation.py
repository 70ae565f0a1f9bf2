"""Metrics of one case against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from leaf_seg.metrics import METRICS, case_metrics


def square(shape: tuple[int, ...], *corners: tuple[int, int]) -> torch.Tensor:
    """Zeros with a block of ones; each corner pair is (start, stop) along one axis."""
    label = torch.zeros(shape, dtype=torch.uint8)
    label[tuple(slice(*corner) for corner in corners)] = 1
    return label


def test_shifted_square_in_a_picture():
    # 4 x 4 square against itself, moved 2 pixels along the rows: 8 of 16 pixels in common
    label = square((16, 16), (4, 8), (4, 8))
    pred = square((16, 16), (6, 10), (4, 8))

    metrics = case_metrics(pred, label, num_classes=2, spacing=(1, 1), tolerance=1)

    assert set(metrics) == set(METRICS)
    assert metrics["dice"] == [pytest.approx(0.5)]
    assert metrics["iou"] == [pytest.approx(8 / 24)]
    # The farthest edge row (4 pixels of 12) is 2 away from the other square.
    assert metrics["hd95"] == [pytest.approx(2)]
    # Of the 12 edge pixels of each square the 4 of the farthest row are 2 away; all others at most 1.
    assert metrics["surface_dice"] == [pytest.approx(16 / 24)]
    assert case_metrics(pred, label, 2, (1, 1), tolerance=2)["surface_dice"] == [1]


def test_spacing_of_an_anisotropic_volume_counts():
    # A one-voxel-thick plate moved by one slice, 5 mm thick; in-plane voxels are 0.5 mm.
    label = square((12, 12, 6), (3, 9), (3, 9), (2, 3))
    pred = square((12, 12, 6), (3, 9), (3, 9), (3, 4))

    metrics = case_metrics(pred, label, num_classes=2, spacing=(0.5, 0.5, 5.0), tolerance=4.9)

    assert metrics["hd95"] == [pytest.approx(5)]
    assert metrics["surface_dice"] == [0]
    assert metrics["dice"] == [0]
    assert case_metrics(pred, label, 2, (0.5, 0.5, 5.0), tolerance=5)["surface_dice"] == [1]
    assert case_metrics(pred, label, 2, (0.5, 0.5, 1.0), tolerance=4.9)["hd95"] == [pytest.approx(1)]


def test_classes_are_told_apart():
    label = square((16, 16), (2, 6), (2, 6))
    label[8:12, 8:12] = 2
    pred = label.clone()
    pred[10:12, 8:12] = 0

    dice = case_metrics(pred, label, num_classes=3, spacing=(1, 1), tolerance=1)["dice"]

    assert dice == [1, pytest.approx(2 * 8 / (8 + 16))]


def test_class_absent_from_both_counts_as_right():
    empty = torch.zeros(8, 8)
    metrics = case_metrics(empty, empty, num_classes=2, spacing=(1, 1), tolerance=1)
    assert metrics == {"dice": [1], "iou": [1], "hd95": [0], "surface_dice": [1]} | {
        "dice_positive": [pytest.approx(math.nan, nan_ok=True)],
        "hd95_worst": [0],
    }


@pytest.mark.parametrize("missed", [True, False])
@pytest.mark.filterwarnings("error")
def test_class_absent_from_one_counts_as_wrong(missed: bool):
    empty, full = torch.zeros(8, 8), square((8, 8), (2, 5), (2, 5)).float()
    pred, label = (empty, full) if missed else (full, empty)
    metrics = case_metrics(pred, label, num_classes=2, spacing=(1, 1), tolerance=1)
    assert (metrics["dice"], metrics["iou"], metrics["surface_dice"]) == ([0], [0], [0])
    assert math.isnan(metrics["hd95"][0])
    assert metrics["hd95_worst"] == [pytest.approx(math.hypot(8, 8))]
    assert metrics["dice_positive"] == [pytest.approx(0 if missed else math.nan, nan_ok=True)]


def test_the_worst_distance_is_the_diagonal_in_the_unit_of_the_spacing() -> None:
    label = square((30, 40, 10), (2, 5), (2, 5), (2, 5))
    metrics = case_metrics(torch.zeros_like(label), label, 2, spacing=(1.0, 0.5, 12.0), tolerance=1)
    assert metrics["hd95_worst"] == [pytest.approx(math.sqrt(30**2 + 20**2 + 120**2))]
    assert case_metrics(label, label, 2, (1.0, 0.5, 12.0), tolerance=1)["hd95_worst"] == [0]


def test_an_empty_segmentation_loses_against_a_poor_one() -> None:
    label = square((16, 16), (2, 6), (2, 6))
    poor = square((16, 16), (5, 9), (2, 6))
    empty, found = (case_metrics(pred, label, 2, (1, 1), 1) for pred in (torch.zeros_like(label), poor))
    for name in ("dice_positive", "surface_dice"):
        assert empty[name][0] < found[name][0]
    assert empty["hd95_worst"][0] > found["hd95_worst"][0]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(8, 8\) and label \(8, 9\)"):
        case_metrics(torch.zeros(8, 8), torch.zeros(8, 9), 2, (1, 1), 1)
