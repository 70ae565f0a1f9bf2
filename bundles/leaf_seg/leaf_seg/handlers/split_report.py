"""What the reports on an evaluated split have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events

from leaf_seg.runtime.distributed import gathered, is_rank_zero


class SplitReport(ABC):
    """Ignite handler that measures every case and reports at the end; of several processes the first one, for all.

    It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes ``metrics_summary.json``.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        class_names: K names, background first.
        seed: seed of the bootstrap.
    """

    def __init__(self, output_dir: str | os.PathLike[str], class_names: Sequence[str], seed: int = 0) -> None:
        self.folder = Path(output_dir)
        self.class_names = list(class_names)
        self.seed = seed
        self._cases: list[Any] = []  # what was measured

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure_batch)
        engine.add_event_handler(Events.COMPLETED, self._report)

    @abstractmethod
    def _measure(self, case: Any, item: Any) -> Any:
        """What is kept of an item of ``engine.state.batch`` and that of ``engine.state.output``; None: nothing."""

    @abstractmethod
    def _write(self) -> None:
        """Report what was measured of all cases."""

    def _reset(self) -> None:
        self._cases = []

    def _measure_batch(self, engine: Engine) -> None:
        batch, output = cast(list[Any], engine.state.batch), cast(list[Any], engine.state.output)
        found = [self._measure(case, item) for case, item in zip(batch, output, strict=True)]
        self._cases += [kept for kept in found if kept is not None]

    def _report(self) -> None:
        self._cases = gathered(self._cases)
        if self._cases and is_rank_zero():
            self._write()
