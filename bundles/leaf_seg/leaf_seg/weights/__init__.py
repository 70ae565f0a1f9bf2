"""Weights: reading and writing model folders and checkpoints."""

from leaf_seg.weights.checkpoint_folder import CheckpointFolder
from leaf_seg.weights.initial import (
    check_start,
    initial_segmenter,
    own_autoencoder,
    shipped_autoencoder,
    trained_with,
)
from leaf_seg.weights.model_folder import check_dataset, load_network, load_settings, model_is_whole, save_model

__all__ = [
    "CheckpointFolder",
    "check_dataset",
    "check_start",
    "initial_segmenter",
    "load_network",
    "load_settings",
    "model_is_whole",
    "own_autoencoder",
    "save_model",
    "shipped_autoencoder",
    "trained_with",
]
