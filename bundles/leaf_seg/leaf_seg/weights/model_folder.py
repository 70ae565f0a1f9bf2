"""A model as a folder: ``config.json`` (architecture, settings, checksums) and its weights.

Training writes them as ``model.pt``, a plain state dictionary, for MONAI; converted published weights are
``model.safetensors``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from leaf_seg.data.datalists import Datalist
from leaf_seg.data.model_settings import CALIBRATED, ModelSettings
from leaf_seg.networks import NETWORKS, SavedNetwork
from leaf_seg.networks.mc_dropout import DROPOUTS
from leaf_seg.runtime.described import build, describe
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.runtime.tensors import check_finite
from leaf_seg.runtime.text import one_line, shortened
from leaf_seg.runtime.values import parse_bool
from leaf_seg.weights.model_config import (
    MODEL_CONFIG_NAME,
    MODEL_SAFETENSORS_NAME,
    MODEL_WEIGHTS_NAME,
    Model,
    checksum,
    read_configuration,
    read_model,
    write_model_config,
)
from leaf_seg.weights.tensor_file import read_tensors
from leaf_seg.weights.version_0_1 import updated

logger = logging.getLogger(__name__)

AUTOENCODER_NAME = "autoencoder"  # folder of the whole frozen autoencoder, where the model brings its own


def save_model(
    network: SavedNetwork,
    settings: ModelSettings,
    folder: str | os.PathLike[str],
    provenance: dict[str, Any] | None = None,
    weights_name: str = MODEL_WEIGHTS_NAME,
    storage: str = "fp32",
) -> Path:
    """Write ``config.json`` and the weights, each in the former one's place only when it is complete.

    Whenever that is broken off, the folder holds a whole model: the former one, or this.

    Args:
        network: whose configuration and weights are saved.
        settings: what inference has to know besides.
        folder: made where needed.
        provenance: plain values kept in ``config.json`` under "training".
        weights_name: ``model.pt`` or ``model.safetensors``.
        storage: "fp32", or "fp16" for half the size: the trainable weights are rounded. The frozen decoder is not, so
            that it stays the autoencoder's.

    Raises:
        InputError: When the folder cannot be written to, or storage is unknown.
    """
    check_storage(storage)
    state = _stored(network, storage)
    path = ensure_writable_folder(folder)
    description = {"network": describe(network), "settings": settings.to_dict(), "training": provenance or {}}
    config = json.loads(json.dumps(description, default=list), parse_constant=lambda _: None)  # as it is read again
    former, file = _whole_model(path), path / weights_name
    with replacing(file) as weights:
        if weights_name == MODEL_SAFETENSORS_NAME:
            save_file(state, weights)
        else:
            torch.save(state, weights)
        digest = checksum(weights)
        if former is not None:
            write_model_config(file, config, digest, former)
    write_model_config(file, config, digest)
    return path


def model_is_whole(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model whose checksum is right, or, saved without one, whose weights can be read."""
    return _whole_model(Path(folder)) is not None


def model_id(folder: str | os.PathLike[str]) -> str | None:
    """Checksum of the weights that a model folder's configuration names; None without a model or a checksum."""
    try:
        config = read_configuration(Path(folder))
    except InputError:
        return None
    return config.get("weights", {}).get("sha256")


def _whole_model(folder: Path) -> Model | None:
    try:
        model = read_model(folder)
        if "weights" not in model.config:
            load_network(folder)
    except InputError:
        return None
    return model


def check_can_be_loaded(network: SavedNetwork) -> None:
    """Build what is to be saved from its description once, without weights, before it is trained.

    Raises:
        InputError: When a part is not known by the name of its class, or does not describe itself.
    """
    try:
        with torch.device("meta"):
            build(describe(network), NETWORKS)
    except Exception as error:  # each part of the network has its own kinds
        raise InputError(f"A model of this {type(network).__name__} could be saved, but not loaded: {error}") from error


def check_storage(storage: str) -> None:
    """Raise an InputError when ``storage`` is neither "fp32" nor "fp16"."""
    if storage not in ("fp32", "fp16"):
        raise InputError(f"storage is {storage!r}; expected fp32 or fp16.")


def _stored(network: SavedNetwork, storage: str) -> dict[str, torch.Tensor]:
    """The state dictionary as it is to be written."""
    state = network.state_dict()
    if storage == "fp32":
        return state
    # A module that a network holds under two names is there twice, and is stored once.
    trainable = {name for name, p in network.named_parameters(remove_duplicate=False) if p.requires_grad}
    rounded = {value.data_ptr(): value.half() for name, value in state.items() if name in trainable}
    return {name: rounded[value.data_ptr()] if name in trainable else value for name, value in state.items()}


def check_dataset(folder: str | os.PathLike[str], datalist: Datalist) -> None:
    """Compare a data set with the one that a model was trained on; before the model is evaluated on it.

    Another data set or split is legitimate, but then some of its cases may have been trained on: that is logged.

    Raises:
        InputError: When the data set names its classes, and not, but for capitals, as the model does.
    """
    config = read_configuration(Path(folder))
    names = config["settings"]["class_names"]
    if datalist.class_names is not None and _folded(datalist.class_names) != _folded(names):
        raise InputError(
            f"The dataset's classes are {datalist.class_names}, the model's in {folder} are {names}; expected the "
            "same. Evaluate on a dataset with the model's classes in the model's order."
        )
    trained_on = training_record(folder).get("datalist_sha256")
    if trained_on is not None and trained_on != datalist.sha256:
        logger.warning(
            "The dataset or its split is not the one that the model was trained on: if it shares cases with the "
            "training data, the metrics are too good."
        )


def _folded(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def load_settings(
    folder: str | os.PathLike[str],
    axis: str | Sequence[str] | None = None,
    mirror_axes: Sequence[int] | None = None,
    label_encoding: str | None = None,
    label_colors: Any = None,
    mc_dropout: bool | str = False,
    ensemble: Any = None,
) -> ModelSettings:
    """Read the settings of a model folder.

    Args:
        folder: of the model.
        axis: slicing directions to use instead of the model's.
        mirror_axes: mirror images to use instead of the model's.
        label_encoding: what the labels hold to evaluate against, instead of what the model's training labels did.
        label_colors: their colours; with them the encoding is "index" unless given.
        mc_dropout: hypotheses are drawn by dropout: what a calibration has found, without it, is left out.
        ensemble: further members, if there are any: as for ``mc_dropout``.

    Raises:
        InputError: When the folder has no readable ``config.json``, or it holds no settings of a model; when what is to
            be used instead is unfit.
    """
    settings = read_configuration(Path(folder))["settings"]
    given = {"axis": axis, "mirror_axes": mirror_axes, "label_encoding": label_encoding, "label_colors": label_colors}
    chosen = {key: value for key, value in given.items() if value is not None}
    if parse_bool(mc_dropout, "mc_dropout") or ensemble is not None:
        settings = {key: value for key, value in settings.items() if key not in CALIBRATED}
    if label_encoding is not None or label_colors is not None:  # what is said of labels takes the place of all
        settings = {key: value for key, value in settings.items() if key not in ("label_encoding", "label_colors")}
    return ModelSettings(**(settings | chosen))


def training_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What is kept of the training that a model folder comes from.

    Raises:
        InputError: When the folder has no readable ``config.json``.
    """
    return dict(read_configuration(Path(folder)).get("training", {}))


def load_network(
    folder: str | os.PathLike[str], weights_name: str | None = None, dropout: float | None = None
) -> SavedNetwork:
    """Build the network of a model folder and load its weights, strictly, in evaluation mode.

    Args:
        folder: as training leaves it.
        weights_name: file with the state dictionary, alone or under the key "model"; the one that ``config.json``
            names, or else ``model.pt`` or ``model.safetensors``, unless given.
        dropout: probability, 0 to 1, of the dropout layers, which act in training mode alone; without: as saved.

    Raises:
        InputError: When a file is missing or damaged, the weights do not fit the configuration, or they are not finite.
    """
    config, file = read_model(Path(folder), weights_name)
    network = _built(config, Path(folder))
    state = _matching(read_tensors(file), network, file)
    check_finite(state, file)
    network.load_state_dict(state, assign=True)
    if dropout is not None:
        for layer in network.modules():
            if isinstance(layer, DROPOUTS):
                layer.p = dropout
    return network.eval()


def _built(config: dict[str, Any], folder: Path) -> SavedNetwork:
    """The network of a configuration, without weights."""
    try:
        with torch.device("meta"):  # the weights come from the file
            network = build(updated(config["network"]), NETWORKS)
    except Exception as error:  # each part of the network has its own kinds
        raise InputError(_unfit_config(folder, error)) from error
    names, size = config["settings"]["class_names"], tuple(config["settings"].get("image_size", ()))
    if network.num_classes != len(names) or network.image_size != size:
        raise InputError(
            f"{folder / MODEL_CONFIG_NAME} has a network of {network.num_classes} classes and image_size "
            f"{network.image_size}, and settings of {len(names)} classes and {size}; expected the same. Restore the "
            "file."
        )
    return network


def _matching(state: dict[str, torch.Tensor], network: SavedNetwork, file: Path) -> dict[str, torch.Tensor]:
    """The state in the network's data types, if its names, shapes and kinds of numbers are the network's."""
    own = network.state_dict()
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    if missing or unexpected:
        fault = f"{len(missing)} keys missing ({shortened(sorted(missing), 3)}), {len(unexpected)} unexpected "
        raise _misfit(file, f"{fault}({shortened(sorted(unexpected), 3)})")
    wrong = [
        f"{key}: found {tuple(value.shape)}, expected {tuple(own[key].shape)}"
        for key, value in state.items()
        if value.shape != own[key].shape
    ]
    if wrong:
        raise _misfit(file, f"{len(wrong)} shapes differ ({shortened(wrong, 3)})")
    wrong = [
        f"{key}: found {str(value.dtype).removeprefix('torch.')}"
        for key, value in state.items()
        if value.is_floating_point() != own[key].is_floating_point()
    ]
    if wrong:
        raise _misfit(file, f"{len(wrong)} are of another kind of number ({shortened(wrong, 3)})")
    return {key: value.to(own[key].dtype) for key, value in state.items()}


def _misfit(file: Path, fault: str) -> InputError:
    return InputError(
        f"{file} does not fit {file.parent / MODEL_CONFIG_NAME}: {one_line(fault, 600)}. Use the config.json of the "
        "same training."
    )


def _unfit_config(folder: Path, error: Exception) -> str:
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return (
        f"{folder / MODEL_CONFIG_NAME} describes no model that this version of leaf_seg can build "
        f"({kind}{one_line(error)}); restore the file or train again."
    )
