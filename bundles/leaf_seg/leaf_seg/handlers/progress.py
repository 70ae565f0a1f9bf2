"""Progress bars."""

from __future__ import annotations

import torch.distributed as dist
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar


class TrainingProgress:
    """One bar over the whole training, on rank 0, with the running losses and the time left.

    Args:
        description: text before the bar.
    """

    def __init__(self, description: str = "Training") -> None:
        self._bar = ProgressBar(desc=description, persist=True, smoothing=0.05)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if not _is_rank_zero():
            return
        self._bar.attach(
            engine,
            output_transform=_losses,
            event_name=Events.ITERATION_COMPLETED,
            closing_event_name=Events.COMPLETED,
        )


class EvaluationProgress:
    """A bar over the cases of one evaluation, on rank 0, with the time left.

    Args:
        description: text before the bar.
        persist: keep the bar on screen when done.
    """

    def __init__(self, description: str = "Validating", persist: bool = False) -> None:
        self._bar = ProgressBar(desc=description, persist=persist)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if _is_rank_zero():
            self._bar.attach(engine)


def _is_rank_zero() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _losses(output: list[dict] | dict) -> dict[str, float]:
    first = output[0] if isinstance(output, list) else output
    return {key: float(first[key]) for key in ("loss", "loss_prediction", "loss_alignment") if key in first}
