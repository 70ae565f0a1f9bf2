"""The evaluation engine: MONAI's, on averaged weights, with uncertainty maps."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.handlers import MLFlowHandler
from monai.utils import ensure_tuple
from monai.utils.enums import CommonKeys as Keys

from leaf_seg.engines.ema import WeightAverage
from leaf_seg.engines.resumption_log import hide_resumption
from leaf_seg.inference.answers import Answers
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.runtime.distributed import is_rank_zero, num_processes
from leaf_seg.runtime.termination import interruptible, raise_if_interrupted
from leaf_seg.runtime.workers import check_workers


class BundleEvaluator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator for every method.

    While it runs, and so also when its CheckpointSaver saves the best model, the network holds the averaged weights. An
    inferer's :class:`~leaf_seg.inference.Answers` become the outputs "pred", "expected_dice", "variance", "entropy" and
    "hypotheses".

    Args:
        ema: average whose weights are evaluated; None evaluates the network as it is.
        **kwargs: as for ``monai.engines.SupervisedEvaluator``.

    Raises:
        InputError: When workers of the loader could not hand on what they load.
    """

    def __init__(self, *, ema: WeightAverage | None = None, **kwargs: Any) -> None:
        self.val_handlers = of_this_process(kwargs.get("val_handlers"))
        kwargs["val_handlers"] = self.val_handlers
        check_workers(getattr(kwargs.get("val_data_loader"), "num_workers", 0))
        super().__init__(**kwargs)
        self.ema = ema
        hide_resumption(self)
        self.add_event_handler(Events.ITERATION_STARTED, raise_if_interrupted)
        self.add_event_handler(IterationEvents.FORWARD_COMPLETED, _unpack_answers)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator
        """Evaluate; ``global_epoch`` is the trainer's epoch.

        Raises:
            InputError: When no case could be segmented with this network, precision and number of hypotheses.
        """
        if isinstance(self.inferer, SegmentationInferer):
            self.inferer.check(self.network, self.state.device)
        with interruptible(), nullcontext() if self.ema is None else self.ema.applied():
            if self.state.epoch_length == 0 and num_processes() > 1:
                self._run_without_cases(global_epoch)
            else:
                super().run(global_epoch)

    def _run_without_cases(self, global_epoch: int) -> None:
        """Take part in what all do together at the events of a run; MONAI's would let the others wait for ever."""
        self.state.epoch, self.state.iteration, self.state.dataloader = global_epoch, 0, self.data_loader
        for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
            self.fire_event(event)


def of_this_process(handlers: Any) -> tuple[Any, ...]:
    """The handlers of an engine, without MONAI's MLFlowHandler where this is not the first of several processes."""
    handlers = ensure_tuple(handlers or ())
    return handlers if is_rank_zero() else tuple(h for h in handlers if not isinstance(h, MLFlowHandler))


def _unpack_answers(engine: SupervisedEvaluator) -> None:
    answers = engine.state.output[Keys.PRED]
    if isinstance(answers, Answers):
        engine.state.output |= {name: value for name, value in vars(answers).items() if value is not None}
