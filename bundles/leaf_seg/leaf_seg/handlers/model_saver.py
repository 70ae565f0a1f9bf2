"""Saves the best model as a folder that inference needs nothing else than."""

from __future__ import annotations

import logging
from typing import Any

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.handlers.best_saver import BestSaver
from leaf_seg.networks import SavedNetwork
from leaf_seg.weights import save_model
from leaf_seg.weights.model_folder import check_can_be_loaded, check_storage

logger = logging.getLogger(__name__)


class ModelSaver(BestSaver):
    """Writes ``config.json`` and ``model.pt`` whenever the evaluator's key metric is the best so far, on rank 0.

    Unlike with MONAI's CheckpointSaver, which keeps weights alone, the two files always belong together, and each takes
    the former one's place only when it is complete.

    Args:
        network: the network that trains, without DistributedDataParallel; while BundleEvaluator runs it holds the
            averaged weights.
        settings: what inference has to know besides.
        folder: of the model.
        provenance: what is worth keeping of the training, such as the hash of its data split.
        training_record: what a training that goes on from the model goes on with, such as its losses.
        storage: "fp32" or "fp16", as for :func:`~leaf_seg.weights.save_model`.

    Raises:
        InputError: When storage is unknown, or the network is one that could not be loaded again.
    """

    def __init__(
        self,
        network: SavedNetwork,
        settings: ModelSettings,
        folder: str,
        provenance: dict[str, Any] | None = None,
        storage: str = "fp32",
        training_record: dict[str, Any] | None = None,
    ) -> None:
        check_storage(storage)
        check_can_be_loaded(network)
        self.network = network
        self.settings = settings
        self.folder = folder
        self.provenance = (provenance or {}) | (training_record or {})
        self.storage = storage

    def save(self, best: dict[str, Any]) -> None:
        """Write the model's folder; epoch and key metric are kept beside the provenance."""
        save_model(self.network, self.settings, self.folder, self.provenance | best, storage=self.storage)
        logger.info("Saved the model to %s.", self.folder)
