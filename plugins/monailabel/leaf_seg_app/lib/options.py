"""The options of a request: what Slicer's tables send, checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from monailabel.utils.others.generic import name_to_device

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import parse_bool

logger = logging.getLogger(__name__)


def choice(request: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    """One of some words; the first where the request has none.

    Raises:
        InputError: For another word.
    """
    value = _value(request, key, choices[0])
    if value not in choices:
        raise InputError(f"{key} is {value!r}; expected one of {', '.join(choices)}.")
    return str(value)


def number(request: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    """A number from ``low`` to ``high``.

    Raises:
        InputError: For anything else.
    """
    value = _value(request, key, default)
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = float("nan")
    if isinstance(value, bool) or not low <= result <= high:
        raise InputError(f"{key} is {value!r}; expected a number from {low:g} to {high:g}.")
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
        InputError: For what is no name.
    """
    value = _value(request, "device", None)
    if value is not None and not isinstance(value, str):
        raise InputError(f"device is {value!r}; expected a name, such as cpu or cuda.")
    found = str(name_to_device(value))
    if value and value.startswith("cuda") and found == "cpu":
        logger.warning("The device %s was asked for and this server has none: computing on the CPU.", value)
    return found


def _value(request: Mapping[str, Any], key: str, default: Any) -> Any:
    value = request.get(key)
    if isinstance(value, (list, tuple)):  # the choices themselves, where the client has changed nothing
        value = value[0] if value else None
    return default if value is None or value == "" else value
