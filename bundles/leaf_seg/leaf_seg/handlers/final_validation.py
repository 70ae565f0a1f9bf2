"""A last validation where training ends between two."""

from __future__ import annotations

import logging
import os
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from leaf_seg.weights.model_folder import model_is_whole

logger = logging.getLogger(__name__)


class FinalValidation:
    """Validates when training ends, by epochs, time or patience, unless the last step has been validated already.

    Without it a training shorter than the interval of MONAI's ValidationHandler would save nothing. Its state, for
    checkpoints, is also that of the validator: the best metric so far.

    Args:
        validator: evaluator that validates, and saves the best model.
        folder: where it saves the model. Where a resumed training finds no whole one there, it takes the next model for
            the best so far, and says so. None does not look.
    """

    def __init__(self, validator: Evaluator, folder: str | os.PathLike[str] | None = None) -> None:
        self.validator = validator
        self.folder = folder
        self._validated: int | None = None  # step of the last validation

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        self.validator.add_event_handler(Events.COMPLETED, self._note, engine)
        engine.add_event_handler(Events.COMPLETED, self)

    def _note(self, validator: Engine, trainer: Engine) -> None:
        self._validated = trainer.state.iteration

    def __call__(self, engine: Engine) -> None:
        """Validate, unless the last step was validated."""
        if self._validated != engine.state.iteration:
            self.validator.run(engine.state.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Best metric so far and step of the last validation."""
        state: Any = self.validator.state  # MONAI adds the best metric to Ignite's state
        best = float(state.best_metric)
        return {"best_metric": best, "best_metric_epoch": state.best_metric_epoch, "validated": self._validated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        if self.folder is not None and state["validated"] is not None and not model_is_whole(self.folder):
            logger.warning(
                "The best model so far (epoch %s, %.4f) is missing or damaged in %s: the best from here on takes its "
                "place.",
                state["best_metric_epoch"],
                state["best_metric"],
                self.folder,
            )
            return
        validator_state: Any = self.validator.state
        validator_state.best_metric = state["best_metric"]
        validator_state.best_metric_epoch = state["best_metric_epoch"]
        self._validated = state["validated"]
