"""Several hypotheses of an image against several raters: whether both differ in the same way."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import torch
from scipy.optimize import linear_sum_assignment

from leaf_seg.metrics.mask_pairs import MaskPairs, mask_pairs


@dataclass(frozen=True)
class Ambiguity:
    """How N hypotheses S of one structure agree with R raters Y. Of two empty masks IoU and Dice are 1.

    Attributes:
        ged: generalised energy distance, squared: 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] with d = 1 - IoU and the
            means over all pairs, those of a mask with itself included (Kohl et al., Probabilistic U-Net, NeurIPS 2018);
            0 to 2, lower is better.
        hm_iou: mean IoU of the best one-to-one matching; where N is not R, both are repeated to their least common
            multiple first. 0 to 1, as all that follow, and higher is better.
        d_max: mean over the raters of the Dice of the hypothesis that is closest.
        s_c: share of what any rater marked that any hypothesis has; 1 where no rater marked anything.
        d_a: diversity agreement, 1 - (|difference of Vmax| + |difference of Vmin|) / 2.
        ci: collective insight, 3 s_c d_max d_a / (s_c + d_max + d_a).

    The last four are of Rahman et al., CVPR 2023 (arXiv 2304.04745). Perhaps differs from the paper, whose code was not
    at hand: V of two masks is the variance over all pixels of their difference, Vmax and Vmin are over the pairs of two
    different hypotheses, or raters, and 0 where there is one only. V is small for a small structure in a large picture,
    whatever the hypotheses: compare d_a and ci only on the same images.
    """

    ged: float
    hm_iou: float
    d_max: float
    s_c: float
    d_a: float
    ci: float


def ambiguity(hypotheses: torch.Tensor, raters: torch.Tensor) -> Ambiguity:
    """Compare the hypotheses of one structure with its raters.

    Args:
        hypotheses: masks, bool [N, *spatial].
        raters: masks, bool [R, *spatial].

    Raises:
        ValueError: When the masks have different sizes, or one of the sets is empty.
    """
    between, samples, truths = (mask_pairs(*sets) for sets in _pairs(hypotheses, raters))
    iou = between.iou()  # [N, R]
    d_max = float(between.dice().amax(dim=0).mean())
    s_c = _combined_sensitivity(hypotheses.any(dim=0), raters.any(dim=0))
    d_a = _diversity_agreement(samples, truths)
    total = s_c + d_max + d_a
    return Ambiguity(
        ged=float(2 * (1 - iou).mean() - (1 - samples.iou()).mean() - (1 - truths.iou()).mean()),
        hm_iou=_matched_iou(iou),
        d_max=d_max,
        s_c=s_c,
        d_a=d_a,
        ci=3 * s_c * d_max * d_a / total if total else 0.0,
    )


def ambiguity_metrics(hypotheses: torch.Tensor, raters: torch.Tensor, num_classes: int) -> dict[str, list[float]]:
    """Compare the hypotheses of one image with its raters, class by class.

    Args:
        hypotheses: class indices [N, *spatial].
        raters: class indices [R, *spatial].
        num_classes: K, background included.

    Returns:
        For each metric of :class:`Ambiguity` the values of classes 1 to K - 1.
    """
    rows = [asdict(ambiguity(hypotheses == index, raters == index)) for index in range(1, num_classes)]
    return {field.name: [row[field.name] for row in rows] for field in fields(Ambiguity)}


def _pairs(hypotheses: torch.Tensor, raters: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(hypotheses, raters), (hypotheses, hypotheses), (raters, raters)]


def _matched_iou(iou: torch.Tensor) -> float:
    """Mean IoU of the best one-to-one matching, of IoU [N, R]."""
    matched = math.lcm(*iou.shape)
    tiled = iou.repeat(matched // len(iou), matched // iou.shape[1]).numpy()
    return float(tiled[linear_sum_assignment(tiled, maximize=True)].mean())


def _combined_sensitivity(found: torch.Tensor, marked: torch.Tensor) -> float:
    total = int(marked.sum())
    return int((found & marked).sum()) / total if total else 1.0


def _diversity_agreement(samples: MaskPairs, truths: MaskPairs) -> float:
    (low, high), (true_low, true_high) = _extremes(samples), _extremes(truths)
    return 1 - (abs(high - true_high) + abs(low - true_low)) / 2


def _extremes(pairs: MaskPairs) -> tuple[float, float]:
    """Smallest and greatest variance of two different masks of a set."""
    variance = pairs.variance()
    others = variance[~torch.eye(len(variance), dtype=torch.bool)]
    return (float(others.min()), float(others.max())) if len(others) else (0.0, 0.0)
