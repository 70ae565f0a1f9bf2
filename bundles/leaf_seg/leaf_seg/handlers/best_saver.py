"""When there is something to save: after a validation that was the best so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from ignite.engine import Engine, Events

from leaf_seg.runtime.distributed import is_rank_zero


class BestSaver(ABC):
    """Ignite handler that saves, on rank 0, whenever the evaluator's key metric is the best so far."""

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with a key metric; after it has compared the metrics."""
        engine.add_event_handler(Events.COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Save if this evaluation was the best."""
        state: Any = engine.state  # MONAI adds the best metric to Ignite's state
        if state.best_metric_epoch == state.epoch and is_rank_zero():
            self.save({"epoch": state.epoch, state.key_metric_name: float(state.best_metric)})

    @abstractmethod
    def save(self, best: dict[str, Any]) -> None:
        """Save; ``best`` holds the epoch and the key metric by its name."""
