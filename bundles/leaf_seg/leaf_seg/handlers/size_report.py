"""Sizes of the structures of an evaluated split with their intervals, as a table, and how often these hold."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.handlers.case_report import SIZES_NAME, add_to_summary, display_names, spacing_of, table_cell
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.inference.structure_statistics import size_intervals
from leaf_seg.metrics import share_interval
from leaf_seg.runtime.files import replacing

logger = logging.getLogger(__name__)

_COLUMNS = ("case", "structure", "size", "low", "high", "true_size", "within", "unit")
_ML = 1e-3  # of a cubic millimetre


class SizeReport(SplitReport):
    """Ignite handler that writes ``sizes.csv`` and adds "sizes" to ``metrics_summary.json``.

    These are the volumes in mL, or areas in pixels, that the structures of each case have by the model and in truth,
    with the intervals of a calibrated model, and how many of these hold. Without intervals the table has none, and the
    summary no "sizes". Items of ``engine.state.batch`` hold "image", a MetaTensor that knows its file, and items of
    ``engine.state.output`` "pred" and "label" as class indices [1, *spatial] in one grid.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        confidence: of the model, where it is calibrated.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        confidence: ConfidenceSettings | None = None,
    ) -> None:
        super().__init__(output_dir, class_names)
        self.confidence = confidence

    def _measure(self, case: Any, item: Any) -> tuple[str, list[dict[str, Any]]]:
        pred, label = (convert_to_numpy(item[key][0]).astype(np.uint8) for key in ("pred", "label"))
        is_volume = label.ndim == 3
        element = math.prod(spacing_of(item["label"])) * _ML if is_volume else 1
        intervals = size_intervals(pred, self.class_names, self.confidence) or {}
        rows = []
        for index, name in enumerate(self.class_names[1:], start=1):
            size, true = int((pred == index).sum()), int((label == index).sum())
            row = {"structure": name, "size": size * element, "true_size": true * element}
            if name in intervals:
                low, high = intervals[name]
                row |= {"low": low * element, "high": high * element, "within": _is_within(true, low, high)}
            rows.append(row | {"unit": "mL" if is_volume else "pixels"})
        return str(case["image"].meta["filename_or_obj"]), rows

    def _write(self) -> None:
        names = display_names([path for path, _ in self._cases])
        rows = [{"case": names[path], **row} for path, of_case in self._cases for row in of_case]
        with (
            replacing(self.folder / SIZES_NAME) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        if "within" not in rows[0]:
            return
        by_class = {name: [row for row in rows if row["structure"] == name] for name in self.class_names[1:]}
        classes = {name: _coverage(of_class) for name, of_class in by_class.items()}
        add_to_summary(self.folder, {"sizes": {"level": 0.9, "unit": rows[0]["unit"], "classes": classes}})
        for name, found in classes.items():
            within = found["within"]
            logger.info(
                "Sizes of %s: %d of %d within their 90 %% interval (%.2f [%.2f, %.2f]), mean width %.4g %s",
                name,
                within["number"],
                within["n"],
                within["share"],
                within["low"],
                within["high"],
                found["mean_width"],
                rows[0]["unit"],
            )


def _coverage(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often the intervals of a structure hold, how wide they are, and how large the structure is, in the mean."""
    return {
        "within": share_interval(sum(row["within"] for row in rows), len(rows)),
        "mean_width": float(np.mean([row["high"] - row["low"] for row in rows])),
        "mean_true_size": float(np.mean([row["true_size"] for row in rows])),
    }


def _is_within(true: int, low: float, high: float) -> bool:
    """With room for rounding: an end may be the true size itself."""
    return low - 1e-6 * (1 + low) <= true <= high + 1e-6 * (1 + high)


def _cell(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else table_cell(value)
