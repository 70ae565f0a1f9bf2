"""Calibration of an evaluated split, in its summary and as a figure."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from leaf_seg.handlers.case_report import RELIABILITY_NAME, add_to_summary
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.metrics import brier_scores, negative_log_likelihood, reliability_bins, summarize_calibration
from leaf_seg.runtime.decoration import decoration
from leaf_seg.visual.reliability import save_reliability

logger = logging.getLogger(__name__)


class CalibrationReport(SplitReport):
    """Ignite handler that adds "calibration" to ``metrics_summary.json`` and draws ``reliability.png``.

    Every item of ``engine.state.output`` holds "probabilities" [K, *spatial] and "label" [1, *spatial] in one grid.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        seed: seed of the bootstrap.
        temperature: of the probabilities, as the model has it; reported with them.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        seed: int = 0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(output_dir, class_names, seed)
        self.temperature = temperature

    def _measure(self, case: Any, item: Any) -> tuple[np.ndarray, list[float], float]:
        both = item["probabilities"], item["label"][0]
        return reliability_bins(*both), brier_scores(*both), negative_log_likelihood(*both)

    def _write(self) -> None:
        bins, brier, nll = (list(values) for values in zip(*self._cases, strict=True))
        calibration = summarize_calibration(bins, brier, nll, self.class_names, self.seed)
        add_to_summary(self.folder, {"calibration": calibration | {"temperature": self.temperature}})
        with decoration(f"The figure {RELIABILITY_NAME}"):
            save_reliability(calibration, self.folder / RELIABILITY_NAME)
        for name, result in calibration["classes"].items():
            logger.info("Calibration of %s: %s", name, _as_text(result))


def _as_text(result: dict[str, Any]) -> str:
    if result["ece"]["mean"] is None:
        return "undefined, no voxel is given this class"
    return (
        f"ECE {result['ece']['mean']:.3f}, Brier score {result['brier']['mean']:.4f}, mean confidence "
        f"{result['mean_confidence']:.3f} where {result['accuracy']:.3f} are right"
    )
