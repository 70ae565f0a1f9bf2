"""The options of a request: what Slicer's tables send, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monailabel.utils.others.generic import name_to_device

from leaf_seg.errors import InputError
from leaf_seg.overrides import parse_bool


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
    """A device as PyTorch names it; MONAI Label takes the CPU where a CUDA device is asked for and there is none.

    Raises:
        InputError: For what is no name.
    """
    value = _value(request, "device", None)
    if value is not None and not isinstance(value, str):
        raise InputError(f"device is {value!r}; expected a name, such as cpu or cuda.")
    return str(name_to_device(value))


def _value(request: Mapping[str, Any], key: str, default: Any) -> Any:
    value = request.get(key)
    if isinstance(value, (list, tuple)):  # the choices themselves, where the client has changed nothing
        value = value[0] if value else None
    return default if value is None or value == "" else value
