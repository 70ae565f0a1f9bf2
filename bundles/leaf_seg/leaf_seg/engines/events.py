"""Events of the trainer besides Ignite's and MONAI's."""

from __future__ import annotations

from ignite.engine.events import EventEnum


class TrainingEvents(EventEnum):
    """Events of :class:`~leaf_seg.engines.BundleTrainer`.

    ``VALIDATION_STARTED`` is fired before a validation between steps, ``CHECKPOINT_STARTED`` before a checkpoint is
    collected, both for what must not be behind it, and ``CHECKPOINT_COMPLETED`` when it is written.
    """

    VALIDATION_STARTED = "validation_started"
    CHECKPOINT_STARTED = "checkpoint_started"
    CHECKPOINT_COMPLETED = "checkpoint_completed"
