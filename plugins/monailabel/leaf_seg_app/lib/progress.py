"""How far a training is, for the bars in 3D Slicer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from leaf_seg.runtime.files import replacing


class TrainingStats:
    """Ignite handler that keeps epoch, number of epochs and best metric in a file.

    3D Slicer asks every five seconds, through the server, for "epoch", "total_epochs" and "best_metric"; "total_time",
    in seconds, tells it that the training has ended.

    Args:
        file: JSON, replaced at each epoch and validation.
        validator: the training's evaluator, whose best key metric is shown.
    """

    def __init__(self, file: Path, validator: Engine) -> None:
        self.file = file
        self.validator = validator
        self._started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self._write, engine)
        engine.add_event_handler(Events.COMPLETED, self._finish, engine)

    def _finish(self, trainer: Engine) -> None:
        self._write(trainer, total_time=round(time.monotonic() - self._started, 1))

    def _write(self, trainer: Engine, **more: float) -> None:
        best: Any = getattr(self.validator.state, "best_metric", 0)
        stats = {
            "epoch": trainer.state.epoch,
            "total_epochs": trainer.state.max_epochs,
            "best_metric": max(float(best), 0.0),  # MONAI begins with -1
            **more,
        }
        with replacing(self.file) as temporary:
            temporary.write_text(json.dumps(stats))
