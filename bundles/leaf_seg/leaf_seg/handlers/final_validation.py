"""A last validation where training ends between two."""

from __future__ import annotations

import logging
import os
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.weights.model_folder import model_id, model_is_whole

logger = logging.getLogger(__name__)


class FinalValidation:
    """Validates when training ends, by epochs, time or patience, unless the last step has been validated already.

    Without it a training shorter than the interval of MONAI's ValidationHandler would save nothing. Its state, for
    checkpoints, is also that of the validator: the best metric so far, unless the checkpoint's key metric was another
    one. At the end it warns again of cases that the best model leaves empty.

    Args:
        validator: evaluator that validates, and saves the best model.
        folder: where it saves the model. Where a resumed training finds no whole one there, or another than that of its
            checkpoint, it takes the next model for the best so far, and says so. None does not look.
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
        state: Any = self.validator.state
        warning = getattr(state, "best_warning", None)  # of ForegroundReport
        if warning is not None and is_rank_zero():
            logger.warning("The best model (epoch %s): %s.", state.best_metric_epoch, warning)

    def state_dict(self) -> dict[str, Any]:
        """Best metric so far, step of the last validation, what is warned of, and which model is the best."""
        state: Any = self.validator.state  # MONAI adds the best metric to Ignite's state
        kept = {
            "key_metric": state.key_metric_name,
            "best_metric": float(state.best_metric),
            "best_metric_epoch": state.best_metric_epoch,
            "best_warning": getattr(state, "best_warning", None),
            "validated": self._validated,
        }
        return kept if self.folder is None else kept | {"model": model_id(self.folder)}

    def _fault_of_model(self, state: dict[str, Any]) -> str | None:
        """What is wrong with the model that a resumed training finds; None where it is the one of the checkpoint.

        One that was saved between the checkpoint and a kill is another, too: its validation is done again, and was the
        best.
        """
        if self.folder is None or state["validated"] is None:
            return None
        if not model_is_whole(self.folder):
            return "is missing or damaged"
        expected = state.get("model")  # not in checkpoints of version 0.2.0 and before
        return None if expected in (None, model_id(self.folder)) else "is not the one"

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        validator_state: Any = self.validator.state
        if state["validated"] is not None and state.get("key_metric", "") != validator_state.key_metric_name:
            logger.warning(
                "The best model so far (epoch %s) was chosen by %s, which is not compared with %s: the model of the "
                "next validation takes its place.",
                state["best_metric_epoch"],
                state.get("key_metric", "another score, of version 0.2.0 or before"),
                validator_state.key_metric_name,
            )
            return
        fault = self._fault_of_model(state)
        if fault is not None:
            logger.warning(
                "The best model so far (epoch %s, %.4f) %s in %s: the best from here on takes its place.",
                state["best_metric_epoch"],
                state["best_metric"],
                fault,
                self.folder,
            )
            return
        validator_state.best_metric = state["best_metric"]
        validator_state.best_metric_epoch = state["best_metric_epoch"]
        validator_state.best_warning = state.get("best_warning")
        self._validated = state["validated"]
