"""Events of the trainer besides Ignite's and MONAI's."""

from __future__ import annotations

from ignite.engine.events import EventEnum


class TrainingEvents(EventEnum):
    """Events of :class:`~leaf_seg.engines.BundleTrainer`.

    ``CHECKPOINT_STARTED`` is fired before a checkpoint is collected, for what must not be behind it.
    """

    CHECKPOINT_STARTED = "checkpoint_started"
