"""What a validation found of the foreground."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from ignite.engine import Engine, Events

from leaf_seg.metrics import ForegroundDice
from leaf_seg.runtime.distributed import is_rank_zero

logger = logging.getLogger(__name__)


class ForegroundReport:
    """Adds to an evaluator's metrics what its key metric has seen of the foreground, and warns of empty predictions.

    "val_positive_dice" is the Dice of what is in the truth, and "val_num_*" are the numbers of
    :class:`~leaf_seg.metrics.ForegroundCounts`. The warning for the best model so far stays in the engine's state, as
    "best_warning".

    Args:
        metric: the evaluator's key metric.
    """

    def __init__(self, metric: ForegroundDice) -> None:
        self.metric = metric

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, before the handlers that report metrics."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the metrics, and warn."""
        state: Any = engine.state  # MONAI adds the best metric to Ignite's state
        counts = self.metric.counts()
        state.metrics |= {"val_positive_dice": self.metric.positive_dice()}
        state.metrics |= {f"val_num_{name}": count for name, count in asdict(counts).items()}
        warning = counts.warning()
        if state.best_metric_epoch == state.epoch:
            state.best_warning = warning
        if warning is not None and is_rank_zero():
            logger.warning("Validation in epoch %d: %s.", state.epoch, warning)
