"""The report on an evaluated split that a person reads: one page of HTML, with pictures of cases."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.handlers.case_report import PAGE_NAME, SUMMARY_NAME, display_names
from leaf_seg.handlers.evaluation_page import ShownCase, evaluation_page
from leaf_seg.handlers.split_report import SplitReport
from leaf_seg.image_io.listing import case_name
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.metrics import class_dice
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.values import parse_bool
from leaf_seg.visual.case_overlay import CaseOverlay

logger = logging.getLogger(__name__)

CONFIDENCE_NAME = "confidence"  # folder of the pictures
_MOST_HYPOTHESES = 4  # in a picture


class HtmlReport(SplitReport):
    """Ignite handler that writes ``report.html`` and, for each case, a picture ``confidence/<case>.png``.

    A picture has image, truth, prediction, the probability of what was predicted with both outlines, and some of the
    hypotheses where there are several. The page shows those of the worst cases, of those to look at, and of the median
    one, and what ``metrics_summary.json`` says. It comes after all handlers that add to that file. None of it is worth
    an evaluation: what fails is told in the log and left out.

    Items of ``engine.state.batch`` hold "image", a MetaTensor that knows its file, and items of ``engine.state.output``
    "pred" and "label" [1, *spatial], "probabilities" [K, *spatial], "expected_dice" [K - 1], and "hypotheses"
    [N, *spatial] where there are several.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        model: its name, for the title.
        enabled: whether anything is written.
        axis: slicing direction of pictures of volumes, as of :class:`~leaf_seg.visual.case_overlay.CaseOverlay`.
        window: lowest and highest value shown there.
        reading: how images are read.
        confidence: of the model, where it is calibrated.

    Raises:
        InputError: When ``enabled`` is neither true nor false.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        model: str | os.PathLike[str],
        enabled: bool | str = True,
        axis: str | Sequence[str] = "axial",
        window: Sequence[float] | None = None,
        reading: ReadingOptions = DEFAULT_READING,
        confidence: ConfidenceSettings | None = None,
    ) -> None:
        super().__init__(output_dir, class_names)
        self.model = model
        self.enabled = parse_bool(enabled, "report")
        self.confidence = confidence
        self._draw = CaseOverlay(class_names, axis, window, reading)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that decollates, where it is enabled."""
        if self.enabled:
            super().attach(engine)

    def _measure(self, case: Any, item: Any) -> ShownCase:
        path = str(case["image"].meta["filename_or_obj"])
        dice = class_dice(item["pred"][0], item["label"][0], len(self.class_names))
        expected = convert_to_tensor(item["expected_dice"], track_meta=False).tolist()
        picture = self.folder / CONFIDENCE_NAME / f"{case_name(path)}.png"
        shown = {"pred": item["pred"], "label": item["label"]}
        shown["confidence"] = torch.as_tensor(item["probabilities"]).amax(dim=0, keepdim=True)
        if "hypotheses" in item:
            shown["drawn"] = item["hypotheses"][:_MOST_HYPOTHESES]
        with decoration(f"The picture of {path}"):
            self._draw(path, shown, picture)
        is_marked = self.confidence is not None and self.confidence.is_low(expected)
        return ShownCase(path, sum(dice) / len(dice), sum(expected) / len(expected), is_marked, picture)

    def _write(self) -> None:
        names = display_names([case.name for case in self._cases])
        cases = [case.renamed(names[case.name]) for case in self._cases]
        with decoration(f"The report {PAGE_NAME}"):
            summary = json.loads((self.folder / SUMMARY_NAME).read_text())
            text = evaluation_page(summary, cases, self.folder, Path(self.model).resolve().name)
            with replacing(self.folder / PAGE_NAME) as temporary:
                temporary.write_text(text, encoding="utf-8")
            logger.info("report to read: %s", (self.folder / PAGE_NAME).resolve())
