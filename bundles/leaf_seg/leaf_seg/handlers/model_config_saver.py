"""Writes a model's configuration when its training starts."""

from __future__ import annotations

from ignite.engine import Engine, Events

from leaf_seg.networks import LatentSegmenter
from leaf_seg.settings import ModelSettings
from leaf_seg.weights import save_model_config


class ModelConfigSaver:
    """Writes ``config.json`` into the folder of the checkpoints, before the first step.

    Args:
        network: the network that trains.
        settings: what inference has to know besides.
        folder: where the checkpoints go.
    """

    def __init__(self, network: LatentSegmenter, settings: ModelSettings, folder: str) -> None:
        self.network = network
        self.settings = settings
        self.folder = folder

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the file."""
        save_model_config(self.network, self.settings, self.folder)
