"""Which structures the numbers of a final label stand for, and whether that is sure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.label_files import class_indices
from lib.predictions import Predictions, label_digest

NAMES = "label_info"  # {"name", "idx"} of each structure, as 3D Slicer sends it
_PREDICTION = "prediction"  # whether the label is an answer of the server that nobody has changed
_CHECKSUM = "sha256"  # of the file that the names were given for
RESERVED = ("ts", "name", _PREDICTION, _CHECKSUM)  # what clients cannot set


def label_meaning(
    image_id: str, label: np.ndarray, names: Any, class_names: Sequence[str], answers: Predictions, file: str
) -> dict[str, Any]:
    """What is kept with a final label.

    Args:
        image_id: of its image.
        label: whole numbers [*spatial].
        names: label_info of the client; without one the values are the classes, which are then named.
        class_names: K names, background first.
        answers: of the server.
        file: of the label.

    Raises:
        InputError: When the label holds other structures.
    """
    if names is None or names == []:
        names = [{"name": name, "idx": index} for index, name in enumerate(class_names) if index]
    digest = label_digest(class_indices(label, names, class_names))
    return {NAMES: names, _PREDICTION: (image_id, digest) in answers, **checksum_of(file)}


def is_prediction(info: Mapping[str, Any]) -> bool:
    """Whether a final label is an answer of the server that nobody has changed."""
    return info.get(_PREDICTION) is True


def why_unsure(info: Mapping[str, Any], file: str) -> str | None:
    """Why a final label must not be trained on; None where its numbers have sure names."""
    if not info.get(NAMES):
        return "its structures have no names"
    if _CHECKSUM in info and not is_of(info, file):
        return "its file has been changed since its structures were named"
    return None


def checksum_of(file: str) -> dict[str, str]:
    """What is kept of any label, so that it is clear which file it is said of."""
    return {_CHECKSUM: _checksum(file)}


def is_of(info: Mapping[str, Any], file: str) -> bool:
    """Whether what is known of a label is said of this file."""
    return bool(info.get(_CHECKSUM) == _checksum(file))


def _checksum(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
