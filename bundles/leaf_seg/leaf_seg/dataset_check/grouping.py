"""Which cases are of one patient, or one sequence."""

from __future__ import annotations

import re
from pathlib import Path

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike


def group_pattern(group_regex: str | None) -> re.Pattern[str] | None:
    r"""The compiled pattern of a group's name.

    Args:
        group_regex: regular expression that is searched in file names; its first capture group is the name of the
            patient or sequence, as in ``(patient\d+)_``. None: groups are not known.

    Raises:
        InputError: When it is no regular expression, or captures nothing.
    """
    if group_regex is None:
        return None
    try:
        pattern = re.compile(group_regex)
    except (re.error, TypeError) as error:
        raise InputError(f"group_regex is {group_regex!r}, which is no regular expression ({error}).") from error
    if not pattern.groups:
        raise InputError(
            f"group_regex is {group_regex!r}, which captures nothing; expected brackets around what names the patient "
            "or sequence in a file's name, as in '(patient[0-9]+)_'."
        )
    return pattern


def group_of(path: PathLike, pattern: re.Pattern[str] | None) -> str | None:
    """The group of an image file; None where the pattern does not match, or there is none."""
    found = None if pattern is None else pattern.search(Path(path).name)
    return None if found is None else found[1]
