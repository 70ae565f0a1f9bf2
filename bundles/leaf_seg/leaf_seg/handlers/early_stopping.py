"""Stops a training that no longer gets better."""

from __future__ import annotations

import logging
from typing import Any

import ignite.handlers
from ignite.engine import Engine, Events
from monai.engines import Evaluator

from leaf_seg.runtime.values import check_number

logger = logging.getLogger(__name__)


class EarlyStopping:
    """Ignite's EarlyStopping on the validator's key metric, as a handler of the trainer.

    Args:
        validator: evaluator with a key metric, higher is better.
        patience: validations without improvement after which training stops, at least 1.

    Raises:
        InputError: When the patience is no whole number of at least 1.
    """

    def __init__(self, validator: Evaluator, patience: int) -> None:
        self.validator = validator
        fit = "a whole number of validations, at least 1"
        self.patience = int(check_number(patience, "early_stopping", fit, lambda value: value >= 1 and value % 1 == 0))

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        self._stopping = ignite.handlers.EarlyStopping(self.patience, _key_metric, engine)
        self.validator.add_event_handler(Events.COMPLETED, self._stopping)
        self.validator.add_event_handler(Events.COMPLETED, self._tell)
        engine.add_event_handler(Events.STARTED, self._stop_at_once)

    def _tell(self) -> None:
        if self._is_over():
            logger.info(
                "No validation was better in the last %d: training ends here (early_stopping).", self._stopping.counter
            )

    def _stop_at_once(self, engine: Engine) -> None:
        """End a resumed training that had been stopped for good."""
        if self._is_over():
            self._tell()
            engine.terminate()

    def _is_over(self) -> bool:
        return self._stopping.counter >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Counter and best score, and of which metric."""
        return dict(self._stopping.state_dict()) | {"key_metric": _key_metric_name(self.validator)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint; that of another key metric, as of version 0.2.0, counts from 0 again."""
        if state.get("key_metric") == _key_metric_name(self.validator):
            self._stopping.load_state_dict(state)


def _key_metric(engine: Engine) -> float:
    return float(engine.state.metrics[_key_metric_name(engine)])


def _key_metric_name(engine: Engine) -> str:
    state: Any = engine.state  # MONAI adds the name to Ignite's state
    return str(state.key_metric_name)
