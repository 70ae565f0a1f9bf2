"""Metrics of every evaluated case, as a table and with a summary."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from leaf_seg.image_io.listing import case_name
from leaf_seg.inference.expected_dice_table import EXPECTED_DICE_NAME
from leaf_seg.metrics import (
    CONVENTIONS,
    METRICS,
    ForegroundCounts,
    case_metrics,
    count_foreground,
    diagonal,
    has_classes,
    summarize,
)
from leaf_seg.runtime.distributed import gathered, is_rank_zero
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing, writing
from leaf_seg.runtime.text import aligned

logger = logging.getLogger(__name__)

CASES_NAME = "metrics_cases.csv"
SUMMARY_NAME = "metrics_summary.json"
RATERS_NAME = "metrics_raters.csv"
RELIABILITY_NAME = "reliability.png"
RISK_COVERAGE_NAME = "risk_coverage.png"
SIZES_NAME = "sizes.csv"
PAGE_NAME = "report.html"
REPORT_NAMES = (
    *(SUMMARY_NAME, CASES_NAME, RATERS_NAME, RELIABILITY_NAME, RISK_COVERAGE_NAME, SIZES_NAME, PAGE_NAME),
    EXPECTED_DICE_NAME,
)


def remove_report(folder: str | os.PathLike[str]) -> bool:
    """Remove the tables and figures of an evaluation, not its label maps; whether there were any.

    Raises:
        InputError: When they cannot be removed.
    """
    files = [Path(folder) / name for name in REPORT_NAMES]
    found = [file for file in files if file.is_file()]
    for file in found:
        with writing(file):
            file.unlink(missing_ok=True)
    return bool(found)


def add_to_summary(folder: str | os.PathLike[str], part: dict[str, Any]) -> None:
    """Add what else was measured to the summary that a :class:`CaseReport` has written.

    Raises:
        InputError: When it cannot be written.
    """
    path = Path(folder) / SUMMARY_NAME
    summary = json.loads(path.read_text()) | part
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")


class CaseReport:
    """Ignite handler that writes ``metrics_cases.csv`` and ``metrics_summary.json`` and logs the summary.

    What a former evaluation left of them, and its figure of the calibration, is removed when one starts. Cases with
    foreground in which none was predicted are warned of. Of several processes the first one reports, for all.

    For an evaluator that decollates. Every item of ``engine.state.output`` holds "pred" and "label" as class indices
    [1, *spatial] in one grid, and every item of ``engine.state.batch`` "image", a MetaTensor that knows its file.

    Args:
        output_dir: folder for the two files.
        class_names: K names, background first.
        tolerance: tolerance of the surface Dice, in millimetres for volumes and pixels for pictures; None where it is
            given by its share.
        split: name of the data split, stated in the summary.
        seed: seed of the bootstrap.
        tolerance_share: the tolerance as a share of the diagonal of each picture or volume.

    Raises:
        InputError: When not exactly one of tolerance and share is given.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        tolerance: float | None = 1.0,
        split: str = "testing",
        seed: int = 0,
        tolerance_share: float | None = None,
    ) -> None:
        if (tolerance is None) == (tolerance_share is None):
            raise InputError(
                f"surface_tolerance is {tolerance} and surface_tolerance_share is {tolerance_share}; expected exactly "
                "one of them, in millimetres or pixels, or as a share of the diagonal."
            )
        self.output_dir = output_dir
        self.class_names = list(class_names)
        self.tolerance = tolerance
        self.tolerance_share = tolerance_share
        self.split = split
        self.seed = seed
        self._cases: dict[str, dict[str, list[float]]] = {}  # by image file
        self._found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # classes in truth and prediction, each [K - 1]

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator.

        Raises:
            InputError: When the output folder cannot be written to.
        """
        ensure_writable_folder(self.output_dir)
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _reset(self) -> None:
        self._cases, self._found = {}, {}
        if is_rank_zero():
            remove_report(self.output_dir)  # of another model, perhaps: killed midway, this evaluation has none

    def _measure(self, engine: Engine) -> None:
        batch, output = cast(list[Any], engine.state.batch), cast(list[Any], engine.state.output)
        for case, item in zip(batch, output, strict=True):
            path = str(case["image"].meta["filename_or_obj"])
            pred, label = item["pred"][0], item["label"][0]
            num_classes, spacing = len(self.class_names), spacing_of(item["label"])
            self._cases[path] = case_metrics(pred, label, num_classes, spacing, self._tolerance(label.shape, spacing))
            self._found[path] = (has_classes(label, num_classes).cpu(), has_classes(pred, num_classes).cpu())

    def _tolerance(self, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """Tolerance of the surface Dice in one case, in the unit of its spacing."""
        if self.tolerance is not None:
            return self.tolerance
        return cast(float, self.tolerance_share) * diagonal(shape, spacing)

    def _report(self) -> None:
        self._cases, self._found = dict(gathered(self._cases.items())), dict(gathered(self._found.items()))
        if is_rank_zero():
            self._write()

    def _write(self) -> None:
        counts = count_foreground(*map(torch.stack, zip(*self._found.values(), strict=True)))
        names = display_names(list(self._cases))
        rows = [
            {"case": names[path], "class": name, **{metric: values[metric][index] for metric in METRICS}}
            for path, values in self._cases.items()
            for index, name in enumerate(self.class_names[1:])
        ]
        summary = {
            "split": self.split,
            **summarize(rows, seed=self.seed),
            **_as_json(counts),
            "tolerance": self.tolerance,
            "tolerance_share": self.tolerance_share,
            "interval": f"95 % percentile bootstrap of the mean over cases, seed {self.seed}",
            "conventions": CONVENTIONS,
        }
        folder = ensure_writable_folder(self.output_dir)
        with replacing(folder / CASES_NAME) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["case", "class", *METRICS])
            writer.writeheader()
            writer.writerows({key: table_cell(value) for key, value in row.items()} for row in rows)
        with replacing(folder / SUMMARY_NAME) as temporary:
            temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        logger.info("%s\nmetrics of each case and summary: %s", _as_text(summary), folder.resolve())
        warning = counts.warning()
        if warning is not None:
            logger.warning("%s split: %s.", self.split.capitalize(), warning)


def _as_json(counts: ForegroundCounts) -> dict[str, dict[str, int]]:
    return {
        "predicted_empty": {"n": counts.predicted_empty, "of": counts.with_foreground},
        "false_positives": {"n": counts.false_positives, "of": counts.negatives},
    }


def spacing_of(label: torch.Tensor) -> list[float]:
    """Pixel or voxel size along each axis of a label map [1, *spatial]: 1 for pictures, millimetres for volumes."""
    if label.ndim == 3 or not isinstance(label, MetaTensor):
        return [1.0] * (label.ndim - 1)
    # An oblique affine in single precision gives 0.70000003 for 0.7 mm, which a tolerance of 0.7 mm would not pass.
    return [float(f"{size:.5g}") for size in label.pixdim.tolist()]


def display_names(paths: Sequence[str]) -> dict[str, str]:
    """Case name of each image; its path where another image has the same, as in ``case_1/image.nii.gz``."""
    counts = Counter(case_name(path) for path in paths)
    return {path: case_name(path) if counts[case_name(path)] == 1 else path for path in paths}


def table_cell(value: Any) -> Any:
    """Value of a CSV cell; undefined is empty."""
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def _as_text(summary: dict[str, Any]) -> str:
    """The summary as an aligned table."""
    lines = [("class", *METRICS)]
    for name, metrics in {**summary["classes"], "mean foreground": summary["mean_foreground"]}.items():
        lines.append((name, *(interval_text(metrics[metric], summary["n"]) for metric in METRICS)))
    title = f"{summary['split']} split, n = {summary['n']}, mean over cases [95 % bootstrap interval]"
    made_up = summary["false_positives"]
    end = f"false positives in {made_up['n']} of {made_up['of']} pairs of case and class without the class"
    return f"{title}\n{aligned(lines)}\n{end}"


def interval_text(interval: dict[str, float | int | None], num_cases: int) -> str:
    """``0.912 [0.897, 0.925]``, with n where cases were left out."""
    if interval["mean"] is None:
        return "undefined"
    text = f"{interval['mean']:.3f}"
    if interval["low"] is not None:
        text += f" [{interval['low']:.3f}, {interval['high']:.3f}]"
    return text if interval["n"] == num_cases else f"{text} (n = {interval['n']})"
