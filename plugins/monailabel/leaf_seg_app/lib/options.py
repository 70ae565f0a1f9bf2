"""The options of a request: what Slicer's tables send, checked."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.utils.others.generic import name_to_device

from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import parse_bool
from lib.names import brief, check_tag

logger = logging.getLogger(__name__)

# What MONAI Label itself, 3D Slicer and the OHIF viewer send with a task's options, of use to it or not. Not
# "bundle_path": MONAI Label puts it on the PYTHONPATH of the task's process, so whoever sends it runs code.
_ADDED = (
    *("_id", "_image_id", "client_id", "description", "device", "gpus", "image", "images", "label_info"),
    *("label_tag", "labels", "local_rank", "logging", "max_batch_size", "max_workers", "method", "model", "multi_gpu"),
    *("restore_label_idx", "result_compress", "result_dtype", "result_extension", "save_label", "session", "user"),
)


def refuse_unknown(request: Mapping[str, Any], known: Collection[str]) -> None:
    """Tell of an option that nothing would look at, such as a misspelt one.

    Raises:
        InputError: For a key that is neither known nor one that clients add by themselves.
    """
    for key in sorted(set(request) - set(known) - set(_ADDED)):
        near = "".join(f" Did you mean {word}?" for word in get_close_matches(key, known, 1))
        raise InputError(f"There is no option {brief(key)}; expected one of {', '.join(sorted(known))}.{near}")


def choice(request: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    """One of some words; the first where the request has none.

    Raises:
        InputError: For another word.
    """
    value = _value(request, key, choices[0])
    if value not in choices:
        raise InputError(f"{key} is {brief(value)}; expected one of {', '.join(choices)}.")
    return str(value)


def number(request: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    """A number from ``low`` to ``high``.

    Raises:
        InputError: For anything else.
    """
    value = _value(request, key, default)
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = float("nan")
    if isinstance(value, bool) or not low <= result <= high:
        raise InputError(f"{key} is {brief(value)}; expected a number from {low:g} to {high:g}.")
    return result


def whole_number(request: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``.

    Raises:
        InputError: For anything else.
    """
    result = number(request, key, default, low, high)
    if result != int(result):
        raise InputError(f"{key} is {result:g}; expected a whole number from {low} to {high}.")
    return int(result)


def flag(request: Mapping[str, Any], key: str, default: bool) -> bool:
    """A yes or no.

    Raises:
        InputError: For anything else.
    """
    return parse_bool(_value(request, key, default), key)


def device(request: Mapping[str, Any]) -> str:
    """A device as PyTorch names it.

    "cuda" is what MONAI Label's batch inference asks for unless it is told otherwise: without one it is the CPU, which
    is logged.

    Raises:
        InputError: For what is no name, and for a device that this server lacks.
    """
    value = _value(request, "device", None)
    if value is not None and not isinstance(value, str):
        raise InputError(f"device is {brief(value)}; expected a name, such as cpu or cuda.")
    if value == "cuda" and not torch.cuda.is_available():
        logger.warning("The device cuda was asked for and this server has none: computing on the CPU.")
        return "cpu"
    if value and value.startswith("cuda"):
        return str(select_device(value))
    return str(select_device(str(name_to_device(value))))  # from the name of a GPU


def prediction_tag(request: Mapping[str, Any]) -> str:
    """The tag that a prediction is saved under.

    Raises:
        InputError: For what is no word, and for that of people's labels, which no prediction takes the place of.
    """
    tag = check_tag(_value(request, "label_tag", DefaultLabelTag.ORIGINAL.value))
    if tag.lower() == DefaultLabelTag.FINAL.value:  # the same folder where file systems do not tell cases apart
        raise InputError(
            f"label_tag is {tag}, which is for the labels that people submit; expected another, as original."
        )
    return tag


def _value(request: Mapping[str, Any], key: str, default: Any) -> Any:
    value = request.get(key)
    if isinstance(value, (list, tuple)):  # the choices themselves, where the client has changed nothing
        value = value[0] if value else None
    return default if value is None or value == "" else value
