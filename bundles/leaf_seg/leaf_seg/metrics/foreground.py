"""Dice that an empty segmentation cannot win, and in how many cases foreground was missed or made up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.metrics import DiceMetric
from monai.metrics.utils import do_metric_reduction
from monai.utils import evenly_divisible_all_gather

from leaf_seg.runtime.distributed import num_processes


@dataclass(frozen=True)
class ForegroundCounts:
    """In how many cases foreground was missed altogether, and in how many pairs (case, class) it was made up.

    Attributes:
        false_positives: pairs without foreground in the truth in which something was predicted.
        negatives: pairs without foreground in the truth.
        predicted_empty: cases with foreground in the truth and none in the prediction, of any class.
        with_foreground: cases with foreground in the truth.
    """

    false_positives: int
    negatives: int
    predicted_empty: int
    with_foreground: int

    def warning(self) -> str | None:
        """What there is to warn of; None where foreground was predicted in every case that has some."""
        if not self.predicted_empty:
            return None
        return f"no foreground predicted in {self.predicted_empty} of {self.with_foreground} cases with foreground"


def has_classes(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Whether each of the classes 1 to K - 1 is in a label map, bool [K - 1].

    Args:
        label: class indices, any shape.
        num_classes: K, background included.
    """
    return torch.stack([(label == k).any() for k in range(1, num_classes)])


def count_foreground(in_truth: torch.Tensor, in_pred: torch.Tensor) -> ForegroundCounts:
    """Count over the cases of a split.

    Args:
        in_truth: whether a class is in the truth of a case, bool [cases, K - 1].
        in_pred: whether it is in the prediction, same shape.
    """
    with_foreground = in_truth.any(dim=1)
    return ForegroundCounts(
        false_positives=int((in_pred & ~in_truth).sum()),
        negatives=int((~in_truth).sum()),
        predicted_empty=int((with_foreground & ~in_pred.any(dim=1)).sum()),
        with_foreground=int(with_foreground.sum()),
    )


class ForegroundDice(DiceMetric):
    """MONAI's DiceMetric as a score to choose models by, which a model that predicts nothing cannot win.

    Mean over the cases of the mean Dice of their classes that are in the truth or in the prediction. A class that is in
    neither is left out, where DiceMetric would give 1 for predicting nothing; missed, or made up, it counts 0. The
    score is 0 when nothing is left. Predictions and truths are class indices, [B, 1, *spatial] or lists of
    [1, *spatial].

    Args:
        num_classes: K, background included; it is not scored.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(include_background=False, ignore_empty=False, num_classes=num_classes)
        self._num_classes = num_classes

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Dice, and whether the class is in truth and prediction, [B, K - 1, 3]."""
        dice = super()._compute_tensor(y_pred, y)  # [B, K - 1]
        found = [torch.stack([has_classes(case, self._num_classes) for case in maps]) for maps in (y, y_pred)]
        return torch.stack([dice, *(classes.to(dice) for classes in found)], dim=-1)

    def _sync(self) -> None:
        """Gather from all processes, also in one that has had no case: MONAI's would let the others wait for it."""
        if self._buffers is None and not self._synced and num_processes() > 1:
            self._synced_tensors = [evenly_divisible_all_gather(torch.zeros(0, self._num_classes - 1, 3), concat=True)]
            self._synced = True
        super()._sync()

    def _columns(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Dice, whether in the truth, whether in the prediction: each [cases, K - 1], of all processes."""
        dice, in_truth, in_pred = self.get_buffer().unbind(dim=-1)
        return dice, in_truth.bool(), in_pred.bool()

    def aggregate(self, reduction: str | None = None) -> torch.Tensor:
        """The score; with a reduction, such as "mean_batch" for each class, DiceMetric's of all pairs."""
        dice, in_truth, in_pred = self._columns()
        if reduction is not None:
            return do_metric_reduction(dice, reduction)[0]
        return _mean_over_cases(dice, in_truth | in_pred).nan_to_num(0.0)

    def positive_dice(self) -> float:
        """Mean over the cases of the mean Dice of their classes that are in the truth; nan when there is none."""
        dice, in_truth, _ = self._columns()
        return float(_mean_over_cases(dice, in_truth))

    def counts(self) -> ForegroundCounts:
        """What was missed and made up."""
        return count_foreground(*self._columns()[1:])


def _mean_over_cases(dice: torch.Tensor, counting: torch.Tensor) -> torch.Tensor:
    """Mean over the cases of the mean of the pairs that count; nan when none does."""
    return dice.where(counting, torch.nan).nanmean(dim=1).nanmean()
