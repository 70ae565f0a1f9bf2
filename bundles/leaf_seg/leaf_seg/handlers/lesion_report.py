"""Separate structures that an evaluated split finds, misses and makes up, in its summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy

from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.metrics import LESION_CONVENTIONS, LESION_METRICS, LesionCounts, count_lesions, summarize
from leaf_seg.runtime.distributed import gathered, is_rank_zero

logger = logging.getLogger(__name__)

_COUNTS = ("found", "made_up", "missed")


class LesionReport:
    """Ignite handler that adds "lesions" to ``metrics_summary.json``: precision, recall and panoptic quality of parts.

    It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes that file. Every item of ``engine.state.output``
    holds "pred" and "label" as class indices [1, *spatial] in one grid.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        seed: seed of the bootstrap.
    """

    def __init__(self, output_dir: str | os.PathLike[str], class_names: Sequence[str], seed: int = 0) -> None:
        self.folder = Path(output_dir)
        self.class_names = list(class_names)
        self.seed = seed
        self._cases: list[list[LesionCounts]] = []  # by case and class

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _reset(self) -> None:
        self._cases = []

    def _measure(self, engine: Engine) -> None:
        for item in cast(list[Any], engine.state.output):
            pred, truth = (convert_to_numpy(item[key][0]) for key in ("pred", "label"))
            classes = range(1, len(self.class_names))
            self._cases.append([count_lesions(pred == index, truth == index) for index in classes])

    def _report(self) -> None:
        self._cases = gathered(self._cases)
        if is_rank_zero():
            self._write()

    def _write(self) -> None:
        rows = [
            {"case": number, "class": name, **{metric: getattr(counts, metric) for metric in LESION_METRICS}}
            for number, case in enumerate(self._cases)
            for name, counts in zip(self.class_names[1:], case, strict=True)
        ]
        summary = summarize(rows, self.seed, LESION_METRICS)
        for name, of_class in zip(self.class_names[1:], zip(*self._cases, strict=True), strict=True):
            counts = [asdict(one) for one in of_class]
            summary["classes"][name]["counts"] = {key: sum(one[key] for one in counts) for key in _COUNTS}
            logger.info("Separate structures of %s: %s", name, _as_text(summary["classes"][name]))
        add_to_summary(self.folder, {"lesions": {**summary, "conventions": LESION_CONVENTIONS}})


def _as_text(result: dict[str, Any]) -> str:
    counts = result["counts"]
    means = [result[metric]["mean"] for metric in LESION_METRICS]
    texts = ["undefined" if mean is None else format(mean, ".3f") for mean in means]
    return (
        f"{counts['found']} found, {counts['missed']} missed, {counts['made_up']} made up; precision {texts[0]}, "
        f"recall {texts[1]}, panoptic quality {texts[2]}"
    )
