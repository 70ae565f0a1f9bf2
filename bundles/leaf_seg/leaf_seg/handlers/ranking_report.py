"""What the expected Dice of an evaluated split is worth: as a ranking, as a reason to leave cases to somebody else."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.handlers.case_report import RISK_COVERAGE_NAME, add_to_summary
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.metrics import class_dice, count_flagged, rank_correlation, risk_coverage, share_interval
from leaf_seg.metrics.summary import as_json
from leaf_seg.runtime.decoration import decoration
from leaf_seg.visual.risk_coverage import save_risk_coverage

logger = logging.getLogger(__name__)


class RankingReport(SplitReport):
    """Ignite handler that adds "ranking", "risk_coverage" and "look_at" to ``metrics_summary.json``.

    The first is Spearman's correlation of expected Dice and Dice; the second their risk-coverage curve, which is drawn
    as ``risk_coverage.png``; the third, of a calibrated model, what its threshold has caught. All are of means over the
    structures of a case. Every item of ``engine.state.output`` holds "expected_dice" [K - 1], and "pred" and "label" as
    class indices [1, *spatial] in one grid.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        seed: seed of the bootstrap.
        confidence: of the model, where it is calibrated.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        seed: int = 0,
        confidence: ConfidenceSettings | None = None,
    ) -> None:
        super().__init__(output_dir, class_names, seed)
        self.confidence = confidence

    def _measure(self, case: Any, item: Any) -> tuple[float, float]:
        dice = class_dice(item["pred"][0], item["label"][0], len(self.class_names))
        return float(item["expected_dice"].mean()), sum(dice) / len(dice)

    def _write(self) -> None:
        expected, dice = (list(values) for values in zip(*self._cases, strict=True))
        curve = risk_coverage(expected, dice, self.seed)
        add_to_summary(self.folder, {"ranking": self._ranking(expected, dice), "risk_coverage": curve})
        with decoration(f"The figure {RISK_COVERAGE_NAME}"):
            save_risk_coverage(curve, self.folder / RISK_COVERAGE_NAME)
        logger.info(
            "Area under risk (1 - Dice) and coverage: %.4f, in a random order %.4f, at best %.4f",
            curve["aurc"]["mean"],
            curve["random"],
            curve["best"],
        )
        if self.confidence is not None:
            add_to_summary(self.folder, {"look_at": self._look_at(expected, dice, self.confidence)})

    def _ranking(self, expected: Sequence[float], dice: Sequence[float]) -> dict[str, Any]:
        found = rank_correlation(expected, dice, self.seed)
        if math.isnan(found.mean):
            logger.info("Whether the expected Dice ranks the cases is undefined: too few, or all the same.")
        else:
            logger.info(
                "The expected Dice ranks the cases as the Dice does with Spearman's rho = %.2f [%.2f, %.2f], n = %d",
                found.mean,
                found.low,
                found.high,
                found.n,
            )
        spearman = as_json(found)
        return {"score": "expected_dice", "spearman": {"rho": spearman.pop("mean"), **spearman}}

    def _look_at(
        self, expected: Sequence[float], dice: Sequence[float], confidence: ConfidenceSettings
    ) -> dict[str, Any]:
        found = count_flagged(expected, dice, confidence.acceptable_dice, confidence.look_at)
        logger.info(
            "Look at %d of %d cases (expected Dice %.4f or less): %d of the %d with a Dice below %g are among them",
            found.flagged,
            found.n,
            found.threshold,
            found.caught,
            found.bad,
            confidence.acceptable_dice,
        )
        return {
            **asdict(found),
            "acceptable_dice": confidence.acceptable_dice,
            "caught_of_bad": share_interval(found.caught, found.bad),
            "flagged_of_all": share_interval(found.flagged, found.n),
        }
