"""How far a model's answers can be trusted, by those to the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.metrics import ExpectedDice, LookAt, choose_threshold, class_dice, conformal_margin, size_error
from leaf_seg.transforms.most_probable import most_probable
from leaf_seg.transforms.temperature import tempered_label


@dataclass(frozen=True)
class JudgedCase:
    """An answer and its truth.

    Attributes:
        expected_dice: of each structure, mean over these, 0 to 1.
        dice: the same of the true ones.
        size_errors: of each structure, :func:`~leaf_seg.metrics.size_error`.
    """

    expected_dice: float
    dice: float
    size_errors: tuple[float, ...]


def judge(
    probabilities: torch.Tensor, label: torch.Tensor, temperature: float, seen: torch.Tensor | None = None
) -> JudgedCase:
    """Compare an answer with its truth.

    Args:
        probabilities: without a temperature [K, n], of all voxels in the grid of the file.
        label: true class indices [n].
        temperature: of the probabilities.
        seen: the probabilities in the grid of the network's input [K, m], where that is another one: the expected Dice
            is of these, as when images are segmented.
    """
    expected = ExpectedDice()
    tempered_label(probabilities if seen is None else seen, temperature, expected)
    pred, num_classes = most_probable(probabilities), len(probabilities)
    dice = class_dice(pred, label, num_classes)
    predicted, true = (torch.bincount(x.long(), minlength=num_classes).tolist() for x in (pred, label))
    errors = tuple(map(size_error, predicted[1:], true[1:]))
    return JudgedCase(float(expected.compute().mean()), sum(dice) / len(dice), errors)


def fit_confidence(cases: Sequence[JudgedCase], acceptable_dice: float) -> tuple[ConfidenceSettings, LookAt]:
    """The settings that these cases of the validation split ask for, and what their threshold does with them.

    Args:
        cases: at least one.
        acceptable_dice: a case is bad where its Dice is below.
    """
    expected, dice = [case.expected_dice for case in cases], [case.dice for case in cases]
    found = choose_threshold(expected, dice, acceptable_dice)
    margins = [conformal_margin(errors) for errors in zip(*(case.size_errors for case in cases), strict=True)]
    known = tuple(margin for margin in margins if margin is not None)
    sizes = known if len(known) == len(margins) else None  # each has as many cases: all or none are known
    return ConfidenceSettings(found.threshold, acceptable_dice, sizes), found
