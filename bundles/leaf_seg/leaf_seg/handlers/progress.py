"""Progress bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from tqdm import tqdm

from leaf_seg.engines import StepLosses, StepRecord
from leaf_seg.engines.budget import Budget
from leaf_seg.runtime.distributed import is_rank_zero

_LOSSES = {"loss": "loss", "loss_prediction": "prediction", "loss_alignment": "alignment"}


class TrainingProgress:
    """One bar over the whole training, on rank 0, with the losses, smoothed, and the time left.

    With a budget it shows the share of the time that is used, and the learning rate. Ignite's ProgressBar counts one
    epoch at a time, and so cannot tell the time left.

    Args:
        description: text before the bar.
        smoothing: weight of the newest loss in the running mean, in (0, 1].
    """

    def __init__(self, description: str = "Training", smoothing: float = 0.05) -> None:
        self.description = description
        self.smoothing = smoothing
        self._bar: tqdm | None = None
        self._budget: Budget | None = None
        self._means: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if is_rank_zero():
            engine.add_event_handler(Events.STARTED, self._open)
            StepLosses(self._update).attach(engine)
            engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _open(self, engine: Engine) -> None:
        self._means = {}
        self._budget = getattr(engine, "budget", None)
        if self._budget is not None:
            seconds = self._budget.seconds
            shown = "{desc}: {percentage:3.0f}%|{bar}| of " + tqdm.format_interval(seconds) + "{postfix}"
            self._bar = tqdm(total=seconds, desc=self.description, bar_format=shown, mininterval=1)
            return
        total = cast(int, engine.state.max_epochs) * cast(int, engine.state.epoch_length)
        self._bar = tqdm(total=total, initial=engine.state.iteration, desc=self.description, unit="step", mininterval=1)

    def _update(self, engine: Engine, records: Sequence[StepRecord]) -> None:
        for record in records:
            for key, value in record.losses.items():
                name = _LOSSES[key]
                self._means[name] = value + (1 - self.smoothing) * (self._means.get(name, value) - value)
        bar = cast(tqdm, self._bar)
        losses = {name: f"{mean:.4f}" for name, mean in self._means.items()}
        if self._budget is None:
            bar.set_postfix({"epoch": engine.state.epoch} | losses, refresh=False)
            bar.update(len(records))
            return
        used, seconds = self._budget.used, self._budget.seconds
        rate = cast(Any, engine).optimizer.param_groups[0]["lr"]
        left = tqdm.format_interval(max(0.0, seconds - used))
        shown = {"left": left, "step": engine.state.iteration} | losses | {"rate": f"{rate:.1e}"}
        bar.set_postfix(shown, refresh=False)
        bar.update(min(used, seconds) - bar.n)

    def _close(self, engine: Engine, error: BaseException | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
        if error is not None:
            raise error


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
        if is_rank_zero():
            self._bar.attach(engine)
