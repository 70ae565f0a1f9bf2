"""What an answer costs: time and parameters."""

from __future__ import annotations

import logging
import os
import statistics
import time
from pathlib import Path
from typing import cast

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents

from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.networks import SavedNetwork
from leaf_seg.runtime.distributed import gathered, is_rank_zero

logger = logging.getLogger(__name__)


class CostReport:
    """Ignite handler that adds "cost" to ``metrics_summary.json``: seconds of a case, and the network's parameters.

    The seconds are the median over the cases of the time from the prepared image to probabilities at native size, on
    the machine and under the load that there is; the first case, in which much is done for the first time, hardly
    shows in it. It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes that file.

    Args:
        output_dir: folder of ``metrics_summary.json``.
        network: whose parameters are counted.
    """

    def __init__(self, output_dir: str | os.PathLike[str], network: SavedNetwork) -> None:
        self.folder = Path(output_dir)
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        self._seconds: list[float] = []
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose batches are single cases."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._end)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _reset(self) -> None:
        self._seconds = []

    def _begin(self) -> None:
        self._began = time.perf_counter()

    def _end(self, engine: Engine) -> None:
        device = torch.device(cast(SupervisedEvaluator, engine).state.device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._seconds.append(time.perf_counter() - self._began)

    def _report(self) -> None:
        self._seconds = gathered(self._seconds)
        if is_rank_zero():
            seconds = statistics.median(self._seconds)
            add_to_summary(self.folder, {"cost": {"seconds_per_case": seconds, "parameters": self.parameters}})
            logger.info("%.3g s a case (median) and %.2f million parameters", seconds, self.parameters / 1e6)
