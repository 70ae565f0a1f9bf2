"""What one training step and one validation have to tell, as flat numbers."""

from __future__ import annotations

from ignite.engine import Engine
from monai.utils import is_scalar

from leaf_seg.engines import StepRecord


def step_row(record: StepRecord) -> dict[str, float]:
    """Losses and learning rate of a step of a BundleTrainer."""
    return record.losses | {"learning_rate": record.learning_rate}


def validation_row(validator: Engine) -> dict[str, float]:
    """The metrics of a validation that are one number."""
    return {name: float(value) for name, value in validator.state.metrics.items() if is_scalar(value)}
