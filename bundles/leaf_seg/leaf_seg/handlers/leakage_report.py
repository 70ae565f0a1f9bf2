"""Whether evaluated cases were among the training data of the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from leaf_seg.data.splits import Case
from leaf_seg.dataset_check.training_data import known_cases, training_data
from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.text import shortened
from leaf_seg.weights.model_folder import training_record

logger = logging.getLogger(__name__)

_MOST_NAMED = 100


class LeakageReport:
    """Ignite handler that adds "leakage" to ``metrics_summary.json``, and warns of cases that the model was trained on.

    It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes that file.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        model_dir: folder of the model.
        cases: that are evaluated.
        split: their name; training cases are known, of course.
        groups: patient, sequence or the like of their images, by path, where known.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        model_dir: str | os.PathLike[str],
        cases: Sequence[Case],
        split: str = "testing",
        groups: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(output_dir)
        self.model_dir = Path(model_dir)
        self.cases = cases
        self.split = split
        self.groups = groups or {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        if is_rank_zero() and self.split != "training":
            engine.add_event_handler(Events.COMPLETED, self._report)

    def _report(self) -> None:
        with decoration("The report of leakage"):
            self._write()

    def _write(self) -> None:
        known = training_data(self.model_dir, training_record(self.model_dir).get("datalist_sha256"))
        if known is None:
            add_to_summary(self.folder, {"leakage": {"training_data_known": False}})
            return
        found = known_cases(self.cases, known, self.groups)
        part: dict[str, Any] = {"training_data_known": True, "groups_known": bool(known.groups)}
        for kind, cases in found.items():
            names = [case_name(case["image"]) for case in cases]
            part[kind] = {"n": len(names), "of": len(self.cases), "cases": names[:_MOST_NAMED]}
            if names:
                same = "the image" if kind == "same_file" else "a group (patient or sequence) of the same name as that"
                doubt = "" if kind == "same_file" else ", unless another is meant by the name"
                logger.warning(
                    "The model was trained on %s of %d of %d %s cases: %s. The metrics are too good%s.",
                    same,
                    len(names),
                    len(self.cases),
                    self.split,
                    shortened(names),
                    doubt,
                )
        add_to_summary(self.folder, {"leakage": part})
