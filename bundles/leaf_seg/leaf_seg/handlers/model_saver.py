"""Saves the best model as a folder that inference needs nothing else than."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events

from leaf_seg.networks import SegmentationNetwork
from leaf_seg.settings import ModelSettings
from leaf_seg.weights import save_model
from leaf_seg.weights.model_folder import check_storage

logger = logging.getLogger(__name__)


class ModelSaver:
    """Writes ``config.json`` and ``model.pt`` whenever the evaluator's key metric is the best so far, on rank 0.

    Unlike with MONAI's CheckpointSaver, which keeps weights alone, the two files always belong together, and each takes
    the former one's place only when it is complete.

    Args:
        network: the network that trains, without DistributedDataParallel; while LeafEvaluator runs it holds the
            averaged weights.
        settings: what inference has to know besides.
        folder: of the model.
        provenance: what is worth keeping of the training, such as the hash of its data split.
        storage: "fp32" or "fp16", as for :func:`~leaf_seg.weights.save_model`.

    Raises:
        InputError: When storage is unknown.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        settings: ModelSettings,
        folder: str,
        provenance: dict[str, Any] | None = None,
        storage: str = "fp32",
    ) -> None:
        check_storage(storage)
        self.network = network
        self.settings = settings
        self.folder = folder
        self.provenance = provenance or {}
        self.storage = storage

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with a key metric."""
        engine.add_event_handler(Events.COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Save if this evaluation was the best."""
        state: Any = engine.state  # MONAI adds the best metric to Ignite's state
        if state.best_metric_epoch != state.epoch or (dist.is_initialized() and dist.get_rank() > 0):
            return
        best = {"epoch": state.epoch, state.key_metric_name: float(state.best_metric)}
        save_model(self.network, self.settings, self.folder, self.provenance | best, storage=self.storage)
        logger.info("Saved the model to %s.", self.folder)
