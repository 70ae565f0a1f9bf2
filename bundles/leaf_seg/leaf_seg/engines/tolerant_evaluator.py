"""The engine of inference, which one damaged image does not stop."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from leaf_seg.engines.evaluator import BundleEvaluator
from leaf_seg.inference.faults import fault_of
from leaf_seg.inference.tolerant_dataset import FAULT
from leaf_seg.runtime.termination import raise_if_interrupted


class TolerantEvaluator(BundleEvaluator):
    """A BundleEvaluator that goes on after an image that cannot be segmented.

    For batches of one case of a :class:`~leaf_seg.inference.TolerantDataset`. For an image at fault
    ``engine.state.batch`` is ``[{"image": file, "fault": reason}]`` and ``engine.state.output`` is ``[{}]``, of which
    :class:`~leaf_seg.handlers.SegmentationSaver` makes its list. Every case is an iteration, because Ignite would
    begin the loader anew when it yields fewer batches than its length. Ctrl-C fires ``Events.INTERRUPT``.
    """

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator
        """Segment.

        Raises:
            InputError: When no image could be segmented with this network, precision and number of hypotheses.
        """
        try:
            super().run(global_epoch)
        except KeyboardInterrupt:
            self.fire_event(Events.INTERRUPT)
            raise

    def _iteration(self, engine: SupervisedEvaluator, batchdata: dict[str, Any]) -> Any:
        """Segment the case of a batch, or hand its fault on."""
        if FAULT in batchdata:
            return _at_fault(engine, batchdata["image"][0], batchdata[FAULT][0])
        source = str(batchdata["image"].meta["filename_or_obj"][0])
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:
            raise_if_interrupted()
            reason = fault_of(error, source)
            if reason is None:
                raise
        return _at_fault(engine, source, reason)


def _at_fault(engine: SupervisedEvaluator, source: str, reason: str) -> list[dict[str, Any]]:
    engine.state.batch = [{"image": source, FAULT: reason}]
    return [{}]
