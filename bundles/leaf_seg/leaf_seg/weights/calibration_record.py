"""What a calibration has found of a model, in its ``config.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.weights.model_config import checksum, read_model, write_model_config

CALIBRATION = "calibration"  # what it was fitted on


def save_calibration(
    folder: str | os.PathLike[str], temperature: float, confidence: ConfidenceSettings, record: Mapping[str, Any]
) -> None:
    """Write a calibration into the settings of a model folder, whose weights stay.

    Args:
        folder: of the model.
        temperature: of its probabilities.
        confidence: how far its answers can be trusted.
        record: plain values, what both were fitted on.

    Raises:
        InputError: When the folder holds no whole model, or cannot be written to.
    """
    config, weights = read_model(Path(folder))
    settings = replace(ModelSettings(**config["settings"]), temperature=temperature, confidence=confidence)
    content = {**config, "settings": settings.to_dict(), CALIBRATION: dict(record)}
    write_model_config(weights, content, checksum(weights))
