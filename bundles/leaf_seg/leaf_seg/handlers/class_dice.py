"""Validation Dice of every class."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine, Events
from monai.metrics import DiceMetric


class ClassDice:
    """Adds the mean Dice of every class to an evaluator's metrics, from what its key metric has measured already.

    Args:
        metric: the evaluator's DiceMetric, background left out.
        class_names: K names, background first.
        prefix: of the metrics' names.
    """

    def __init__(self, metric: DiceMetric, class_names: Sequence[str], prefix: str = "val_dice_") -> None:
        self.metric = metric
        self.names = [prefix + name for name in class_names[1:]]

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, before the handlers that report metrics."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the metrics."""
        values = self.metric.aggregate(reduction="mean_batch")
        engine.state.metrics |= {name: float(value) for name, value in zip(self.names, values, strict=True)}
