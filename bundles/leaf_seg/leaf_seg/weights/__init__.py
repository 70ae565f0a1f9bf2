"""Weights: reading and writing model folders and checkpoints."""

from leaf_seg.weights.answering_network import load_answering_network, num_answers
from leaf_seg.weights.checkpoint_folder import CheckpointFolder
from leaf_seg.weights.initial import (
    check_start,
    default_autoencoder,
    initial_segmenter,
    own_autoencoder,
    trained_with,
)
from leaf_seg.weights.mask_scale import scaled_to_masks
from leaf_seg.weights.mlflow_source import model_folder
from leaf_seg.weights.model_folder import check_dataset, load_network, load_settings, model_is_whole, save_model
from leaf_seg.weights.without_data import check_data_given, datalist_or_none

__all__ = [
    "CheckpointFolder",
    "check_data_given",
    "check_dataset",
    "check_start",
    "datalist_or_none",
    "default_autoencoder",
    "initial_segmenter",
    "load_answering_network",
    "load_network",
    "load_settings",
    "model_folder",
    "model_is_whole",
    "num_answers",
    "own_autoencoder",
    "save_model",
    "scaled_to_masks",
    "trained_with",
]
