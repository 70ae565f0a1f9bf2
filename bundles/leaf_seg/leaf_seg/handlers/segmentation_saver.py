"""Writes what an evaluator segments."""

from __future__ import annotations

from typing import Any, cast

from ignite.engine import Engine, Events

from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.inference.tolerant_dataset import FAULT
from leaf_seg.runtime.distributed import gathered, is_rank_zero, wait_for_all
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.termination import postponed

Cases = list[tuple[Any, Any]]  # items of a batch, and of the output


class SegmentationSaver(SegmentationWriter):
    """Ignite handler that writes every case of an evaluator that decollates.

    Every item of ``engine.state.output`` holds what :meth:`~leaf_seg.inference.SegmentationWriter.save` takes, and
    every item of ``engine.state.batch`` "image", a MetaTensor that knows its file; or "image", a file, and "fault", the
    reason why it cannot be segmented.
    """

    _is_gathered = False  # from all processes

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator.

        Raises:
            InputError: When the output folder cannot be written to.
        """
        ensure_writable_folder(self.output_dir)
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_batch)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.INTERRUPT, self._complete)

    def _begin(self, engine: Engine) -> None:
        """Find name clashes before the first case is computed, where the data set lists its cases."""
        dataset = getattr(engine.state.dataloader, "dataset", None)
        self._is_gathered = False
        self.begin(str(case["image"]) for case in getattr(dataset, "data", None) or ())

    def conclude(self) -> None:
        """As in :class:`~leaf_seg.inference.SegmentationWriter`, in every process when all have told.

        Raises:
            FaultyImages: When some images could not be segmented.
        """
        wait_for_all()  # torchrun stops them all when one ends with an error
        super().conclude()

    def _complete(self) -> None:
        """Of several processes each has written its own cases, and the first tells of all.

        So also when they are interrupted, for those that are done wait here for the others.
        """
        try:
            self._gather()
        except RuntimeError:  # of PyTorch: another process has ended
            self._tell_first()
            raise
        self._tell_first()

    def _tell_first(self) -> None:
        if is_rank_zero():
            self.tell()

    def _gather(self) -> None:
        """Take what all have written, once."""
        if self._is_gathered:
            return
        own = (self._written, self._drawn, self._faults, self._expected_dice.rows)
        with postponed():
            parts = gathered([own])
            self._is_gathered = True
            self._take(parts)

    def _take(self, parts: list[Any]) -> None:
        written, drawn, faults, rows = zip(*parts, strict=True)
        self._written, self._drawn = sum(written), sum(drawn)
        self._faults = {source: reason for part in faults for source, reason in part.items()}
        self._expected_dice.rows = {case: row for part in rows for case, row in part.items()}

    def _save_batch(self, engine: Engine) -> None:
        batch, output = cast(list[Any], engine.state.batch), cast(list[Any], engine.state.output)
        self._save_cases(list(zip(batch, output, strict=True)))

    def _save_cases(self, cases: Cases) -> None:
        for case, item in cases:
            if FAULT in case:
                self.give_up(case["image"], case[FAULT])
                continue
            self.save(str(case["image"].meta["filename_or_obj"]), item)
