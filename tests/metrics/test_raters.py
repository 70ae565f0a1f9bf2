"""Hypotheses against raters: worked out by hand, and by loops over single pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from leaf_seg.metrics import ambiguity, ambiguity_metrics


def masks(*rows: str) -> torch.Tensor:
    """Masks of a picture of one row: ``masks("1100", "0110")``."""
    return torch.tensor([[[int(pixel) for pixel in row]] for row in rows], dtype=torch.bool)


def test_by_hand() -> None:
    """S1 = {0, 1}, S2 = {1, 2}; Y1 = {0, 1}, Y2 = {0, 1, 2, 3}, of 10 pixels."""
    found = ambiguity(masks("1100000000", "0110000000"), masks("1100000000", "1111000000"))
    # IoU: S1 Y1 1, S1 Y2 1/2, S2 Y1 1/3, S2 Y2 1/2, S1 S2 1/3, Y1 Y2 1/2
    between, samples, truths = (0 + 1 / 2 + 2 / 3 + 1 / 2) / 4, (2 * 2 / 3) / 4, (2 * 1 / 2) / 4
    assert found.ged == pytest.approx(2 * between - samples - truths)
    assert found.hm_iou == pytest.approx((1 + 1 / 2) / 2)  # S1 to Y1 and S2 to Y2
    assert found.d_max == pytest.approx((1 + 2 / 3) / 2)
    assert found.s_c == pytest.approx(3 / 4)
    # One pair each, so Vmax = Vmin: S1 - S2 is 1, 0, -1, 0, ...; Y1 - Y2 is 0, 0, -1, -1, 0, ...
    d_a = 1 - abs(0.2 - (0.2 - 0.2**2))
    assert found.d_a == pytest.approx(d_a)
    d_max, s_c = 5 / 6, 3 / 4
    assert found.ci == pytest.approx(3 * s_c * d_max * d_a / (s_c + d_max + d_a))


def test_the_same_masks_are_at_no_distance() -> None:
    raters = torch.rand(5, 8, 8) > 0.5
    found = ambiguity(raters[[3, 1, 4, 0, 2]], raters)
    assert found.ged == pytest.approx(0, abs=1e-12)
    assert (found.hm_iou, found.d_max, found.s_c, found.d_a, found.ci) == pytest.approx((1, 1, 1, 1, 1))


@pytest.mark.parametrize(("n", "r"), [(2, 3), (1, 3), (3, 1), (2, 4)])
def test_matching_repeats_both_to_the_least_common_multiple(n: int, r: int) -> None:
    """The best of all orders in which the repeated hypotheses can stand before the repeated raters."""
    hypotheses, raters = torch.rand(n, 4, 4) > 0.5, torch.rand(r, 4, 4) > 0.5
    iou = np.array([[_iou(hypothesis, rater) for rater in raters] for hypothesis in hypotheses])
    number = int(np.lcm(n, r))
    columns = [j for j in range(r) for _ in range(number // r)]
    orders = set(itertools.permutations(i for i in range(n) for _ in range(number // n)))
    best = max(np.mean([iou[i, j] for i, j in zip(order, columns, strict=True)]) for order in orders)
    assert ambiguity(hypotheses, raters).hm_iou == pytest.approx(best)


def _iou(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_self_pairs_are_included() -> None:
    """One hypothesis has no distance to itself, and two raters that share nothing are 1/2 apart in the mean."""
    found = ambiguity(masks("1000"), masks("1000", "0100"))
    assert found.ged == pytest.approx(2 * 0.5 - 0 - 0.5)


def test_empty_masks() -> None:
    """All agree that there is nothing; then only the raters do."""
    nothing, something = masks("0000", "0000"), masks("1000", "0000")
    found = ambiguity(nothing, nothing)
    assert (found.ged, found.hm_iou, found.d_max, found.s_c, found.d_a, found.ci) == (0, 1, 1, 1, 1, 1)
    found = ambiguity(something, nothing)
    assert found.hm_iou == 0.5
    assert found.d_max == 1  # the second hypothesis
    assert found.s_c == 1
    found = ambiguity(nothing, masks("1000", "0100"))
    assert (found.d_max, found.s_c, found.ci) == (0, 0, 0)


def test_each_class_by_itself() -> None:
    hypotheses, raters = torch.randint(0, 3, (2, 6, 6)), torch.randint(0, 3, (4, 6, 6))
    found = ambiguity_metrics(hypotheses, raters, 4)
    for index in (1, 2):
        alone = ambiguity(hypotheses == index, raters == index)
        assert found["ged"][index - 1] == alone.ged
        assert found["ci"][index - 1] == alone.ci
    assert found["ged"][2] == 0  # class 3 is nowhere
