"""A last validation where training ends between two."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator


class FinalValidation:
    """Validates after the last epoch when MONAI's ValidationHandler, at its interval, has not.

    Without it a training shorter than the interval would save nothing.

    Args:
        validator: evaluator that validates, and saves the best model.
        interval: the ValidationHandler's, in epochs.
    """

    def __init__(self, validator: Evaluator, interval: int) -> None:
        self.validator = validator
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Validate, unless the last epoch was validated."""
        if engine.state.epoch % self.interval:
            self.validator.run(engine.state.epoch)
