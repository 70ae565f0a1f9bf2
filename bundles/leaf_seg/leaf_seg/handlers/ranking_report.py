"""Whether the expected Dice of an evaluated split ranks its cases as the Dice does."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events

from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.metrics import class_dice, rank_correlation
from leaf_seg.metrics.summary import as_json
from leaf_seg.runtime.distributed import gathered, is_rank_zero

logger = logging.getLogger(__name__)


class RankingReport:
    """Ignite handler that adds "ranking" to ``metrics_summary.json``: Spearman's correlation of expected Dice and Dice.

    Both are means over the structures of a case. It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes
    that file. Every item of ``engine.state.output`` holds "expected_dice" [K - 1], and "pred" and "label" as class
    indices [1, *spatial] in one grid.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        seed: seed of the bootstrap.
    """

    def __init__(self, output_dir: str | os.PathLike[str], class_names: Sequence[str], seed: int = 0) -> None:
        self.folder = Path(output_dir)
        self.num_classes = len(class_names)
        self.seed = seed
        self._expected: list[float] = []
        self._dice: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _reset(self) -> None:
        self._expected, self._dice = [], []

    def _measure(self, engine: Engine) -> None:
        for item in cast(list[Any], engine.state.output):
            dice = class_dice(item["pred"][0], item["label"][0], self.num_classes)
            self._expected.append(float(item["expected_dice"].mean()))
            self._dice.append(sum(dice) / len(dice))

    def _report(self) -> None:
        self._expected, self._dice = gathered(self._expected), gathered(self._dice)
        if is_rank_zero():
            self._write()

    def _write(self) -> None:
        found = rank_correlation(self._expected, self._dice, self.seed)
        spearman = as_json(found)
        ranking = {"score": "expected_dice", "spearman": {"rho": spearman.pop("mean"), **spearman}}
        add_to_summary(self.folder, {"ranking": ranking})
        if math.isnan(found.mean):
            logger.info("Whether the expected Dice ranks the cases is undefined: too few, or all the same.")
            return
        logger.info(
            "The expected Dice ranks the cases as the Dice does with Spearman's rho = %.2f [%.2f, %.2f], n = %d",
            found.mean,
            found.low,
            found.high,
            found.n,
        )
