"""What the model expects of its own segmentations, as a table that begins with the ones to look at."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.runtime.files import replacing, writing
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)

EXPECTED_DICE_NAME = "expected_dice.csv"
LOOK_AT_COLUMN = "look_at"
_NUM_NAMED = 3  # cases in the log


class ExpectedDiceTable:
    """Writes ``expected_dice.csv``: a row for each case, with the mean over the structures and each of them.

    Args:
        folder: that the table is written to.
        structures: names of the foreground classes.
        confidence: of the model; with it a column says which cases somebody should look at.
    """

    def __init__(self, folder: Path, structures: Sequence[str], confidence: ConfidenceSettings | None = None) -> None:
        self.confidence = confidence
        self.path = folder / EXPECTED_DICE_NAME
        self.structures = list(structures)
        self.rows: dict[str, list[float]] = {}  # by case

    def begin(self) -> None:
        """Start anew; the table of other segmentations is removed.

        Raises:
            InputError: When it cannot be removed.
        """
        self.rows = {}
        if self.path.is_file():
            with writing(self.path):
                self.path.unlink(missing_ok=True)

    def add(self, case: str, expected_dice: Sequence[float]) -> None:
        """Note the expected Dice of each structure of a case."""
        self.rows[case] = [float(value) for value in expected_dice]

    def write(self) -> None:
        """Write the table, lowest mean first, and log which cases that are; nothing without cases.

        Raises:
            InputError: When it cannot be written.
        """
        if not self.rows:
            return
        rows = [(float(np.mean(values)), case, values) for case, values in self.rows.items()]
        rows.sort(key=lambda row: (not math.isnan(row[0]), row[0], row[1]))  # undefined is to be looked at, too
        columns = ["case", "expected_dice", *(f"expected_dice_{name}" for name in self.structures)]
        marks = [] if self.confidence is None else [self.confidence.is_low(values) for _, _, values in rows]
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*columns, *([LOOK_AT_COLUMN] if marks else [])])
            for place, (mean, case, values) in enumerate(rows):
                mark = ["yes" if marks[place] else "no"] if marks else []
                writer.writerow([case, *(f"{value:.4f}" for value in (mean, *values)), *mark])
        named = ", ".join(f"{printable(case)} {mean:.3f}" for mean, case, _ in rows[:_NUM_NAMED])
        lowest = "" if len(rows) <= _NUM_NAMED else ", lowest of all"
        logger.info("expected Dice (%s%s): %s", named, lowest, self.path.resolve())
        if marks:
            marked = [case for (_, case, _), mark in zip(rows, marks, strict=True) if mark]
            logger.info("look at %d of %d%s", len(marked), len(rows), f": {shortened(marked)}" if marked else "")
