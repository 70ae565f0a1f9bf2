"""Weights: reading and writing model folders."""

from leaf_seg.weights.model_folder import (
    check_dataset,
    check_output_folder,
    load_network,
    load_settings,
    save_model,
)

__all__ = ["check_dataset", "check_output_folder", "load_network", "load_settings", "save_model"]
