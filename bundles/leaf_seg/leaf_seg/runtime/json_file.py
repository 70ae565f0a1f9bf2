"""Reads JSON that somebody may have damaged, or made to do damage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line

MAX_BYTES = 32 * 1024**2  # a list of some 100 000 cases; what it becomes in memory is some twenty times as much


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON object in UTF-8, with finite numbers and every key once.

    Raises:
        InputError: When the file cannot be read, is greater than :data:`MAX_BYTES` or holds something else.
    """
    return json_object(_read(file), file)


def read_json(file: Path) -> Any:
    """Read a JSON file of any content, a list or an object, as :func:`read_json_object`.

    Raises:
        InputError: When the file cannot be read, is greater than :data:`MAX_BYTES` or is no JSON.
    """
    return _parsed(_read(file), file)


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():  # opening a named pipe would wait for somebody to write to it
            raise OSError("no file" if not file.exists() else "a folder" if file.is_dir() else "not a plain file")
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(file, error) from error


def json_object(text: bytes, file: object) -> dict[str, Any]:
    """The same of what has been read.

    Args:
        text: of the object.
        file: that it is from, for the message.

    Raises:
        InputError: As for :func:`read_json_object`.
    """
    content = _parsed(text, file)
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: holds a {type(content).__name__}; expected a JSON object {{...}}. Correct or restore the file."
        )
    return content


def _parsed(text: bytes, file: object) -> Any:
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 1024**2} MB")
        return json.loads(
            text.decode("utf-8-sig"),
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_each_once,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: object, error: BaseException) -> InputError:
    reason = getattr(error, "strerror", None) or one_line(error)
    return InputError(f"{file}: cannot be read as JSON ({reason}). Correct or restore the file.")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return content
