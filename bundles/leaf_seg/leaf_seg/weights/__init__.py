"""Weights: reading and writing model folders."""

from leaf_seg.weights.model_folder import load_network, load_settings, save_model_config

__all__ = ["load_network", "load_settings", "save_model_config"]
