"""How far several hypotheses of one image agree: what active learning asks about an image without a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.special import entr

from leaf_seg.metrics.stability import class_dice

_BACKGROUND = 0.95  # where the mean probability of the background is higher, nothing is in question


@dataclass(frozen=True)
class Agreement:
    """How far the hypotheses of one image agree.

    Attributes:
        entropy: entropy of the mean probabilities in nats, 0 to ln K.
        variance: variance over the hypotheses of the probabilities, summed over the classes.
        dice: Dice between two hypotheses, mean over pairs and foreground classes, 0 to 1. It predicts the Dice with a
            truth that is not known.

    Entropy and variance are means over what is not clearly background (mean probability of at most 0.95); 0 where
    everything is.
    """

    entropy: float
    variance: float
    dice: float


def agreement(hypotheses: Sequence[np.ndarray]) -> Agreement:
    """Compare the hypotheses of one image.

    Args:
        hypotheses: two or more class probabilities [K, *spatial], background first.

    Raises:
        ValueError: For fewer than two hypotheses.
    """
    if len(hypotheses) < 2:
        raise ValueError(f"Agreement takes two hypotheses or more, not {len(hypotheses)}.")
    stacked = np.stack(hypotheses)  # [N, K, *spatial]
    mean = stacked.mean(axis=0)
    in_question = mean[0] <= _BACKGROUND
    labels = [torch.from_numpy(probabilities.argmax(axis=0)) for probabilities in hypotheses]
    dice = [class_dice(first, second, len(mean)) for first, second in combinations(labels, 2)]
    return Agreement(
        entropy=_mean(entr(mean).sum(axis=0), in_question),
        variance=_mean(stacked.var(axis=0).sum(axis=0), in_question),
        dice=float(np.mean(dice)),
    )


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else 0.0
