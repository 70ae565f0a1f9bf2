"""The ``config.json`` of a model folder, and which weights belong to it.

Two files cannot be replaced at once. While weights are replaced, ``config.json`` therefore holds the new configuration
and under "former" the one before, and the checksum of the weights that are there says which of them holds.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.runtime.bounds import Bound, Bounds, Flag, check_bounds
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.setting_bounds import SETTINGS
from leaf_seg.runtime.text import one_line

MODEL_CONFIG_NAME = "config.json"
MODEL_WEIGHTS_NAME = "model.pt"
MODEL_SAFETENSORS_NAME = "model.safetensors"
_SEAL, _WEIGHTS, _FORMER = "sha256", "weights", "former"

# What a training that goes on from the model goes on with, and along which axes the model has seen mirror images.
_TRAINING: Bounds = {
    "terminal_probability": Bound(0, 1, whole=False),
    "image_loss_weight": Bound(0, 1e9, whole=False),
    "train_decoder": Flag(),
    "flip_probability": SETTINGS["flip_probability"],
}
_MOST_READINGS = 20  # of files that are being replaced


class Model(NamedTuple):
    """What a model folder holds.

    Attributes:
        config: network, settings, and what is kept of the training.
        weights: file of the weights.
    """

    config: dict[str, Any]
    weights: Path


def read_model(folder: Path, weights_name: str | None = None) -> Model:
    """Read the configuration that belongs to the weights that are there; the weights are not read but for their sum.

    Args:
        folder: of the model.
        weights_name: file of weights to use; those that the configuration names, or else ``model.pt`` or
            ``model.safetensors``, unless given.

    Raises:
        InputError: When a file is missing or damaged.
    """
    before: Any = None
    for _ in range(_MOST_READINGS):  # a training may replace the files in between
        models = [_model(folder, config, weights_name) for config in _read(folder)]
        states = [_state(model.weights) for model in models]
        for model in models:
            if model.weights.is_file() and _belongs(model):
                return model
        if before == (models, states):
            break
        before = (models, states)
    file = models[0].weights
    if not file.is_file():
        raise InputError(f"No weights {file}; expected the checkpoint that training saves after its first validation.")
    raise InputError(
        f"{file} is damaged or of another training: its checksum is {checksum(file)[:12]}..., that in "
        f"{folder / MODEL_CONFIG_NAME} {models[0].config[_WEIGHTS][_SEAL][:12]}.... Restore both files together, or "
        "train again."
    )


def _state(file: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None without one."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def read_configuration(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder, without a look at its weights unless they were being replaced.

    Raises:
        InputError: When the folder has no readable ``config.json``.
    """
    found = _read(folder)
    return found[0] if len(found) == 1 else read_model(folder).config


def write_model_config(file: Path, config: dict[str, Any], digest: str, former: Model | None = None) -> None:
    """Write ``config.json``.

    Args:
        file: of the weights that belong to it, beside which it is written.
        config: network, settings, and what is kept of the training.
        digest: checksum of the weights, which need not be there yet.
        former: the model whose weights are still there.

    Raises:
        InputError: When it cannot be written.
    """
    folder = file.parent
    content = _sealed(config, file.name, digest)
    if former is not None:
        record = former.config.get(_WEIGHTS) or {_SEAL: checksum(former.weights)}
        content[_FORMER] = _sealed(former.config, former.weights.name, record[_SEAL])
    with replacing(folder / MODEL_CONFIG_NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def checksum(file: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: When it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); restore it or correct its permissions.") from error


def _sealed(config: dict[str, Any], name: str, digest: str) -> dict[str, Any]:
    """A configuration with the checksum of its weights and its own; in an order for people."""
    content = {key: value for key, value in config.items() if key not in (_SEAL, _FORMER)}
    content[_WEIGHTS] = {"file": name, _SEAL: digest}
    return {**content, _SEAL: _digest(content)}


def _digest(config: dict[str, Any]) -> str:
    """SHA-256 of the values, however they are laid out in the file."""
    content = {key: value for key, value in config.items() if key not in (_SEAL, _FORMER)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(folder: Path) -> list[dict[str, Any]]:
    """The configuration, and the former one where there is one."""
    file = folder / MODEL_CONFIG_NAME
    if not file.is_file():
        raise InputError(
            f"No {MODEL_CONFIG_NAME} in {folder.resolve()}; expected a model folder with {MODEL_CONFIG_NAME} and "
            f"{MODEL_WEIGHTS_NAME}, as training leaves it in its output_dir. Set --model_dir (or --model) to it."
        )
    config = read_json_object(file)
    found = [config, config[_FORMER]] if _FORMER in config else [config]
    for content in found:
        _check(content, file)
    return found


def _check(config: Any, file: Path) -> None:
    parts = [config.get(key) for key in ("network", "settings")] if isinstance(config, dict) else [None]
    if not all(isinstance(part, dict) for part in [*parts, config.get("training", {})]):
        raise InputError(
            f"{file} is not the configuration of a leaf_seg model: expected the keys network and settings."
        )
    record = config.get(_WEIGHTS)
    is_record = isinstance(record, dict) and isinstance(record.get(_SEAL), str)
    if record is not None and not (is_record and record.get("file") in (MODEL_WEIGHTS_NAME, MODEL_SAFETENSORS_NAME)):
        raise InputError(
            f"{file}: weights is {one_line(repr(record), 80)}; expected the name and the checksum of the weights. "
            "Restore the file."
        )
    if _SEAL in config and config[_SEAL] != _digest(config):
        raise InputError(
            f"{file} is damaged or was changed: its checksum is {_digest(config)[:12]}..., the one in it "
            f"{one_line(config[_SEAL])[:12]}.... Restore the file; if you changed it on purpose, take out the line "
            f'"{_SEAL}" at its end.'
        )
    check_bounds(config.get("training", {}), _TRAINING, f"{file}: training: ")
    _check_settings(config["settings"], file)


def _check_settings(settings: dict[str, Any], file: Path) -> None:
    try:
        ModelSettings(**settings)
    except (InputError, TypeError) as error:  # TypeError of keys that are missing or unknown
        raise InputError(f"{file}: settings: {one_line(error)} Restore the file.") from error


def _model(folder: Path, config: dict[str, Any], weights_name: str | None) -> Model:
    if weights_name is None and _WEIGHTS in config:
        weights_name = config[_WEIGHTS]["file"]
    if weights_name is None:
        is_safe = (folder / MODEL_SAFETENSORS_NAME).is_file() and not (folder / MODEL_WEIGHTS_NAME).exists()
        weights_name = MODEL_SAFETENSORS_NAME if is_safe else MODEL_WEIGHTS_NAME
    return Model(config, folder / weights_name)


def _belongs(model: Model) -> bool:
    """Whether the weights are those of the configuration, as far as it says which they are."""
    record = model.config.get(_WEIGHTS)
    return record is None or record["file"] != model.weights.name or checksum(model.weights) == record[_SEAL]
