"""JSON of clients, as it can be kept in a file and sent to others: no NaN, no half characters, not too long."""

from __future__ import annotations

import json
import math
from typing import Any

from leaf_seg.runtime.errors import InputError
from lib.names import brief

_MAX_LENGTH = 64 * 1024  # characters; requests are handed to processes as an argument, which may have 128 kB
_MAX_DEPTH = 20
_MAX_INTEGER = 2**53


def read_object(text: str, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        text: to parse; empty is {}.
        what: it is, for messages.

    Raises:
        InputError: For anything else.
    """
    if len(text) > _MAX_LENGTH:
        raise _too_long(what, len(text))
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is no JSON ({error}): {brief(text)}; expected an object, {{...}}.") from None
    return check_object(value, what)


def check_object(value: Any, what: str) -> dict[str, Any]:
    """A JSON object that was parsed already.

    Raises:
        InputError: For another value, numbers that are not finite or too large, and text that is no Unicode.
    """
    if not isinstance(value, dict):
        raise InputError(f"{what} is {brief(value)}; expected a JSON object, {{...}}.")
    _check(value, what, 0)
    length = len(json.dumps(value))
    if length > _MAX_LENGTH:
        raise _too_long(what, length)
    return value


def _check(value: Any, what: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InputError(f"{what} is nested more than {_MAX_DEPTH} deep; send less.")
    if isinstance(value, dict):
        for key, member in value.items():
            _check(key, what, depth)
            _check(member, what, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, what, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{what} holds {value}; expected finite numbers.")
    elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise InputError(f"{what} holds a number of {len(brief(value))} digits or more; expected at most 2^53.")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{what} holds {brief(value)}, which is no Unicode text.") from None


def _too_long(what: str, length: int) -> InputError:
    return InputError(f"{what} has {length} characters of JSON; expected at most {_MAX_LENGTH}.")
