"""The error shown to a user whose input cannot be used."""

from __future__ import annotations

import sys
from types import TracebackType


class InputError(ValueError):
    """Bad input, found at the door.

    The message says which file or key, what was found, what was expected and what to do.
    """


def input_error_in(error: BaseException) -> InputError | None:
    """The InputError that led to an error, as when MONAI has wrapped it; None where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    return cause


def show_input_errors_plainly() -> None:
    """Let an InputError that ends the process show its message alone.

    MONAI wraps what goes wrong in a config, so that the message would stand in the middle of a long traceback. Other
    errors are shown as ever.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause = input_error_in(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"\nleaf_seg: {cause}\n")
