"""Values that a user has set, checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leaf_seg.runtime.errors import InputError

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def check_number(value: Any, name: str, expected: str, is_fit: Callable[[float], bool]) -> float:
    """Return a number that a user has set, if it is one and fit.

    Args:
        value: to check.
        name: config key, for the message.
        expected: what is fit, in words.
        is_fit: whether a number is.

    Raises:
        InputError: For any other value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_fit(value):
        raise InputError(f"{name} is {value!r}; expected {expected}.")
    return value


def parse_bool(value: Any, name: str) -> bool:
    """Turn a config value into a boolean, refusing what is not plainly one.

    ``--resume false`` reaches a config as the string ``"false"``, which Python takes for true.

    Args:
        value: ``True``, ``False``, 1, 0, or one of true, false, yes, no, 1, 0 as a string in any case.
        name: config key that holds the value, for the message.

    Raises:
        InputError: For any other value.
    """
    if isinstance(value, (bool, int, str)):
        word = str(value).strip().lower()
        if word in _BOOLEANS:
            return _BOOLEANS[word]
    raise InputError(
        f"The value of {name} is {value!r}, which is neither true nor false: give one of {', '.join(_BOOLEANS)}."
    )


def is_built_later(value: Any) -> bool:
    """Whether a value is an expression, a reference or a part with ``_target_``, or a list with one: not yet known."""
    if isinstance(value, str):
        return value.startswith(("$", "@", "%"))
    if isinstance(value, (list, tuple)):
        return any(map(is_built_later, value))
    return isinstance(value, Mapping) and "_target_" in value
