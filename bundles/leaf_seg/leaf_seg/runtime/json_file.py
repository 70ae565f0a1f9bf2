"""Reads a configuration that somebody may have damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leaf_seg.runtime.errors import InputError


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: When the file cannot be read or holds something else.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {file} as JSON ({error}); restore the file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no configuration but a {type(content).__name__}; restore the file.")
    return content
