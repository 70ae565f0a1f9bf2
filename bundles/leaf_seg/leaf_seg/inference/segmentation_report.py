"""What was segmented, as tables beside the label maps."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import leaf_seg
from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.image_io.listing import case_name
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.inference.contact_sheet import PREVIEW_NAME, save_contact_sheet
from leaf_seg.inference.structure_statistics import measure
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.files import replacing

logger = logging.getLogger(__name__)

STATISTICS_NAME = "statistics.csv"
REPORT_NAME = "report.json"
_SIZES = tuple(f"{size}{end}" for size in ("count", "volume_ml") for end in ("", "_low", "_high"))
_COLUMNS = ("structure", *_SIZES, "mean_intensity")


class SegmentationReport:
    """Collects the images that are segmented, and writes ``statistics.csv``, ``report.json`` and ``preview.png``.

    None is worth a segmentation: what fails here is told in the log and left out.

    Args:
        folder: of the label maps, which exists when something is written.
        class_names: K names, background first.
        model: that segments, as it was named; of an ensemble all that were.
        statistics: whether structures are measured, which reads each image once more.
        report: whether ``report.json`` is written.
        preview: whether the overlays are put on one sheet, ``preview.png``.
        reading: how images are read that can be read in several ways.
        confidence: of the model, by which sizes have intervals and images are marked that somebody should look at.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        model: str,
        statistics: bool = False,
        report: bool = False,
        preview: bool = False,
        reading: ReadingOptions = DEFAULT_READING,
        confidence: ConfidenceSettings | None = None,
    ) -> None:
        self.folder = folder
        self.class_names = list(class_names)
        self.model = model
        self.statistics = statistics
        self.report = report
        self.preview = preview
        self.reading = reading
        self.confidence = confidence
        self.images: list[dict[str, Any]] = []
        self._begun = datetime.now(UTC).isoformat(timespec="seconds")
        self._last = time.monotonic()

    def add(self, source: str, output: Path, label: np.ndarray, expected_dice: Sequence[float]) -> None:
        """Note an image.

        Args:
            source: its file.
            output: file of its label map.
            label: class indices [*spatial] in the grid of the file.
            expected_dice: of each structure, 0 to 1.
        """
        image: dict[str, Any] = {"input": source, "output": str(output), "seconds": self._seconds()}
        known = [None if math.isnan(value) else value for value in expected_dice]
        image["expected_dice"] = dict(zip(self.class_names[1:], known, strict=True))
        if self.confidence is not None:
            image["look_at"] = self.confidence.is_low(expected_dice)
        if self.statistics:
            with decoration(f"The statistics of {source}"):
                rows = measure(source, label, self.class_names, self.reading, self.confidence)
                image["statistics"] = [row.to_dict() for row in rows]
        self.images.append(image)

    def give_up(self, source: str, reason: str) -> None:
        """Note an image that could not be segmented."""
        self.images.append({"input": source, "output": None, "seconds": self._seconds(), "fault": reason})

    def write(self) -> None:
        """Write what is wanted of the images so far."""
        if self.statistics:
            with decoration(f"The table {STATISTICS_NAME}"):
                self._write_statistics(self.folder / STATISTICS_NAME)
        if self.report:
            with decoration(f"The report {REPORT_NAME}"):
                self._write_report(self.folder / REPORT_NAME)
        if self.preview:
            with decoration(f"The sheet {PREVIEW_NAME}"):
                self._write_preview(self.folder / PREVIEW_NAME)

    def _write_preview(self, path: Path) -> None:
        cases = [case_name(image["input"]) for image in self.images if image["output"] is not None]
        overlays = [self.folder / "overlays" / f"{case}.png" for case in cases]
        drawn = [overlay for overlay in overlays if overlay.is_file()]
        if drawn:
            logger.info("%d of %d overlays: %s", save_contact_sheet(drawn, path), len(drawn), path.resolve())

    def _write_statistics(self, path: Path) -> None:
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["case", *_COLUMNS, "expected_dice"])
            for image in self.images:
                for row in image.get("statistics", []):
                    cells = [row[column] for column in _COLUMNS] + [image["expected_dice"][row["structure"]]]
                    writer.writerow([case_name(image["input"]), *map(_cell, cells)])
        logger.info("statistics of the structures: %s", path.resolve())

    def _write_report(self, path: Path) -> None:
        content = {
            "leaf_seg": leaf_seg.__version__,
            "begun": self._begun,
            "model": self.model,
            "classes": {number: name for number, name in enumerate(self.class_names)},
            "images": self.images,
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        logger.info("report: %s", path.resolve())

    def _seconds(self) -> float:
        """Since the last image."""
        before, self._last = self._last, time.monotonic()
        return round(self._last - before, 3)


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
