"""The temperature of a model, in its ``config.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaf_seg.weights.model_config import checksum, read_model, write_model_config

CALIBRATION = "calibration"  # what the temperature was fitted on


def save_temperature(folder: str | os.PathLike[str], temperature: float, record: Mapping[str, Any]) -> None:
    """Write a temperature into the settings of a model folder, whose weights stay.

    Args:
        folder: of the model.
        temperature: of its probabilities.
        record: plain values, what it was fitted on.

    Raises:
        InputError: When the folder holds no whole model, or cannot be written to.
    """
    config, weights = read_model(Path(folder))
    settings = {key: value for key, value in config["settings"].items() if key != "temperature"}
    if temperature != 1:
        settings["temperature"] = temperature
    write_model_config(weights, {**config, "settings": settings, CALIBRATION: dict(record)}, checksum(weights))
