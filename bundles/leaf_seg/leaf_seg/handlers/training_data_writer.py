"""What a training has seen, written when it starts."""

from __future__ import annotations

from ignite.engine import Engine, Events

from leaf_seg.dataset_check.training_data import TrainingDataRecord
from leaf_seg.runtime.distributed import is_rank_zero


class TrainingDataWriter:
    """Ignite handler that writes ``training_data.json`` when the training starts, on rank 0.

    Args:
        record: what is written.
    """

    def __init__(self, record: TrainingDataRecord) -> None:
        self.record = record

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if is_rank_zero():
            engine.add_event_handler(Events.STARTED, self.record.write)
