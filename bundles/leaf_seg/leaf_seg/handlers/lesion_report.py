"""Separate structures that an evaluated split finds, misses and makes up, in its summary."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from monai.utils import convert_to_numpy

from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.metrics import LESION_CONVENTIONS, LESION_METRICS, LesionCounts, count_lesions, summarize

logger = logging.getLogger(__name__)

_COUNTS = ("found", "made_up", "missed")


class LesionReport(SplitReport):
    """Ignite handler that adds "lesions" to ``metrics_summary.json``: precision, recall and panoptic quality of parts.

    Every item of ``engine.state.output`` holds "pred" and "label" as class indices [1, *spatial] in one grid. Arguments
    are those of :class:`~leaf_seg.handlers.split_report.SplitReport`.
    """

    def _measure(self, case: Any, item: Any) -> list[LesionCounts]:
        pred, truth = (convert_to_numpy(item[key][0]) for key in ("pred", "label"))
        return [count_lesions(pred == index, truth == index) for index in range(1, len(self.class_names))]

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
