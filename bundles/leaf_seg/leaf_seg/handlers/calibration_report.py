"""Calibration of an evaluated split, in its summary and as a figure."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, Events

from leaf_seg.handlers.case_report import RELIABILITY_NAME, add_to_summary
from leaf_seg.metrics import brier_scores, negative_log_likelihood, reliability_bins, summarize_calibration
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.distributed import gathered, is_rank_zero
from leaf_seg.visual.reliability import save_reliability

logger = logging.getLogger(__name__)


class CalibrationReport:
    """Ignite handler that adds "calibration" to ``metrics_summary.json`` and draws ``reliability.png``.

    It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes that file. Every item of ``engine.state.output``
    holds "probabilities" [K, *spatial] and "label" [1, *spatial] in one grid.

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
        self.folder = Path(output_dir)
        self.class_names = list(class_names)
        self.seed = seed
        self.temperature = temperature
        self._bins: list[np.ndarray] = []
        self._brier: list[list[float]] = []
        self._nll: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _reset(self) -> None:
        self._bins, self._brier, self._nll = [], [], []

    def _measure(self, engine: Engine) -> None:
        for item in cast(list[Any], engine.state.output):
            self._bins.append(reliability_bins(item["probabilities"], item["label"][0]))
            self._brier.append(brier_scores(item["probabilities"], item["label"][0]))
            self._nll.append(negative_log_likelihood(item["probabilities"], item["label"][0]))

    def _report(self) -> None:
        self._bins, self._brier, self._nll = gathered(self._bins), gathered(self._brier), gathered(self._nll)
        if is_rank_zero():
            self._write()

    def _write(self) -> None:
        calibration = summarize_calibration(self._bins, self._brier, self._nll, self.class_names, self.seed)
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
