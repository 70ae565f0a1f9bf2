"""What one training step and one validation have to tell, as flat numbers."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from monai.utils import is_scalar

_LOSSES = ("loss", "loss_prediction", "loss_alignment")


def step_row(trainer: Engine) -> dict[str, float]:
    """Losses and learning rate of the step that a BundleTrainer has just done.

    "loss_prediction" and "loss_alignment" are there when features are distilled.
    """
    output: Any = trainer.state.output
    first = output[0] if isinstance(output, list) else output
    losses = {name: float(first[name]) for name in _LOSSES if name in first}
    optimizer: Any = trainer.optimizer  # type: ignore[attr-defined]  # of every MONAI trainer
    return losses | {"learning_rate": float(optimizer.param_groups[0]["lr"])}


def validation_row(validator: Engine) -> dict[str, float]:
    """The metrics of a validation that are one number."""
    return {name: float(value) for name, value in validator.state.metrics.items() if is_scalar(value)}
