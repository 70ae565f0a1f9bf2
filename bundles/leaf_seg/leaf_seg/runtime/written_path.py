"""Paths as people write them: with what a shell would have replaced, had they not been quoted."""

from __future__ import annotations

import os
import re

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line, printable

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ADDRESS = re.compile(r"[a-z][a-z+]*:/{2,3}(?=~)")  # as of sqlite:///~/runs.db


def check_written(path: str, name: str) -> None:
    """Refuse a path that a shell or a person has left as it cannot be meant: nothing of that name exists.

    Args:
        path: as it was written.
        name: of the setting, for messages.

    Raises:
        InputError: For spaces or quotation marks at its ends, and for the variables of a shell.
    """
    if os.path.lexists(path):
        return
    if path != path.strip(" \t\r\n'\""):
        raise InputError(
            f"{name} is {one_line(repr(path), 80)}, with spaces or quotation marks at its ends; expected none. Leave "
            "them out."
        )
    found = next((match for match in _VARIABLE.finditer(path) if (match[1] or match[2]) in os.environ), None)
    if found is not None:
        raise InputError(
            f"{name} is {one_line(repr(path), 80)}, whose {found[0]} the shell has not replaced; expected the path "
            "itself. Write it in double quotation marks or in none."
        )


def is_of_shell(path: str) -> bool:
    """Whether a path begins with a variable of the shell, which in a config would begin an expression."""
    return re.fullmatch(_VARIABLE.pattern + r"(?:/[^@'\"()+]*)?", path) is not None


def with_home(path: str) -> str:
    """The path or address of a file with the home folder in place of a ``~`` at its beginning.

    Raises:
        InputError: When there is no such user.
    """
    address = _ADDRESS.match(path)
    start = address.end() if address else 0
    if not path.startswith("~", start) or os.path.lexists(path):
        return path
    expanded = os.path.expanduser(path[start:])
    if expanded.startswith("~"):
        raise InputError(f"{printable(path)}: there is no home folder {printable(path.split('/')[0])}. Correct it.")
    return path[:start] + expanded
