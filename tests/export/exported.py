"""Small model folders of every kind, for the tests of exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter, SavedNetwork
from leaf_seg.weights import save_model
from tests.networks.test_baselines import SMALL, make

NAMES = ("background", "left: a", "right")


def small_network(kind: type[SavedNetwork], make_segmenter: Callable[..., LatentSegmenter]) -> SavedNetwork:
    """With three classes, that answers otherwise from pixel to pixel."""
    network: SavedNetwork = make(kind) if kind in SMALL else make_segmenter(image_size=(16, 24), kind=kind)
    with torch.no_grad():
        network(torch.rand(1, 3, *network.image_size))
    return network


def saved(network: SavedNetwork, folder: Path, **settings: Any) -> Path:
    save_model(network, ModelSettings(NAMES, network.image_size, **settings), folder)
    return folder


class Fickle(nn.Module):
    """Does what a trace forgets: something else with a batch of another number."""

    image_size = (16, 24)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        probabilities = torch.cat([image[:, :1], 1 - image[:, :1]], dim=1)
        return probabilities if len(image) == 2 else probabilities.flip(1)
