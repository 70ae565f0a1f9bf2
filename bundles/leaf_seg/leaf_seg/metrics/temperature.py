"""The temperature at which probabilities are the most likely ones for a truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.optimize import minimize_scalar

from leaf_seg.metrics.calibration import LEAST_PROBABILITY
from leaf_seg.runtime.setting_bounds import TEMPERATURE

_DIGITS = 4  # which another number of threads does not change


def fit_temperature(probabilities: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> float:
    """The temperature T with the least mean negative log-likelihood, each case weighing alike.

    Args:
        probabilities: of each case [K, n], of any voxels.
        labels: of each case, their true class indices [n].

    Returns:
        T, within the bounds of ``TEMPERATURE``, by Brent's method on ln T.
    """
    pairs = zip(probabilities, labels, strict=True)
    cases = [(values.float().clamp(min=LEAST_PROBABILITY).log(), label.long()) for values, label in pairs]

    def likelihood(logarithm: float) -> float:
        return sum(_negative_log_likelihood(logits, label, math.exp(logarithm)) for logits, label in cases) / len(cases)

    bounds = (math.log(TEMPERATURE.low), math.log(TEMPERATURE.high))
    found = minimize_scalar(likelihood, bounds=bounds, method="bounded", options={"xatol": 10**-_DIGITS})
    return float(f"{math.exp(found.x):.{_DIGITS}g}")


def _negative_log_likelihood(logits: torch.Tensor, label: torch.Tensor, temperature: float) -> float:
    scaled = logits / temperature  # [K, n]
    return float((scaled.logsumexp(dim=0) - scaled.gather(0, label[None])[0]).mean(dtype=torch.float64))
