"""Hypotheses of evaluated cases against all that labelled them, as a table and in the summary."""

from __future__ import annotations

import csv
import logging
import math
from typing import Any

import torch

from leaf_seg.handlers.case_report import RATERS_NAME, add_to_summary, display_names, spacing_of, table_cell
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.metrics import RATER_CONVENTIONS, RATER_METRICS, ambiguity_metrics, crps, summarize
from leaf_seg.runtime.files import replacing

logger = logging.getLogger(__name__)

_COUNTS = ("hypotheses", "raters", "matched")


class RaterReport(SplitReport):
    """Ignite handler that writes ``metrics_raters.csv`` and adds "raters" to ``metrics_summary.json``.

    Of the cases that several raters have labelled; without any it does nothing. Items of ``engine.state.batch`` hold
    "image", a MetaTensor that knows its file, and perhaps "raters", class indices [R, *spatial]. Items of
    ``engine.state.output`` hold "pred" and "label" [1, *spatial], and "hypotheses" [N, *spatial] where there are
    several; all in one grid. Arguments are those of :class:`~leaf_seg.handlers.split_report.SplitReport`.
    """

    def _measure(self, case: Any, item: Any) -> tuple[str, dict[str, Any]] | None:
        if "raters" not in case:
            return None
        compared = self._compared(item.get("hypotheses", item["pred"]), case["raters"], item["label"])
        return str(case["image"].meta["filename_or_obj"]), compared

    def _compared(self, hypotheses: torch.Tensor, raters: torch.Tensor, label: torch.Tensor) -> dict[str, Any]:
        """Counts of one case, and its metrics by class."""
        hypotheses, raters = hypotheses.cpu(), raters.cpu()
        counts = (len(hypotheses), len(raters), math.lcm(len(hypotheses), len(raters)))
        size = math.prod(spacing_of(label)) * (1e-3 if label.ndim == 4 else 1)  # mm3 in mL
        metrics = ambiguity_metrics(hypotheses, raters, len(self.class_names))
        metrics["volume_crps"] = [
            _volume_crps(hypotheses == index, raters == index, size) for index in range(1, len(self.class_names))
        ]
        return dict(zip(_COUNTS, counts, strict=True)) | metrics

    def _write(self) -> None:
        cases = dict(self._cases)  # by image file: counts, and the metrics by class
        names = display_names(list(cases))
        rows = [
            {"case": names[path], "class": name}
            | {count: values[count] for count in _COUNTS}
            | {metric: values[metric][index] for metric in RATER_METRICS}
            for path, values in cases.items()
            for index, name in enumerate(self.class_names[1:])
        ]
        counts = {count: sorted({values[count] for values in cases.values()}) for count in _COUNTS}
        summary = {**counts, **summarize(rows, self.seed, RATER_METRICS), "conventions": RATER_CONVENTIONS}
        with replacing(self.folder / RATERS_NAME) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["case", "class", *_COUNTS, *RATER_METRICS])
            writer.writeheader()
            writer.writerows({key: table_cell(value) for key, value in row.items()} for row in rows)
        add_to_summary(self.folder, {"raters": summary})
        logger.info("Against all raters: %s", _as_text(summary))


def _volume_crps(hypotheses: torch.Tensor, raters: torch.Tensor, size: float) -> float:
    """Mean over the raters, of masks [N, *spatial] and [R, *spatial] with elements of that size."""
    samples, truths = ((masks.flatten(1).sum(dim=1) * size).tolist() for masks in (hypotheses, raters))
    return sum(crps(samples, truth) for truth in truths) / len(truths)


def _as_text(summary: dict[str, Any]) -> str:
    """The means over cases and classes, in a line."""
    counts = [" or ".join(map(str, summary[count])) for count in _COUNTS]
    foreground = summary["mean_foreground"]
    found = ", ".join(f"{metric} {foreground[metric]['mean']:.3f}" for metric in RATER_METRICS)
    return f"{found} (n = {summary['n']}; {counts[0]} hypotheses, {counts[1]} raters, {counts[2]} of each matched)"
