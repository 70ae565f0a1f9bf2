"""What ends a command, said in one line."""

from __future__ import annotations

import sys
from types import TracebackType

from leaf_seg.runtime.errors import input_error_in
from leaf_seg.runtime.files import no_space_error


def plain_message(error: BaseException) -> str | None:
    """The message for an error that bad input or a full disk has led to; None for others, which are the program's."""
    cause = input_error_in(error) or no_space_error(error)
    return None if cause is None else str(cause)


def show_errors_plainly() -> None:
    """Let bad input, a full disk or an interruption that ends the process show its message alone.

    MONAI wraps what goes wrong in a config, so that the message would stand in the middle of a long traceback. Other
    errors are shown as ever, and the exit code is what it would be.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    message = plain_message(error)
    if isinstance(error, KeyboardInterrupt):
        message = f"ended by {error.args[0] if error.args else 'Ctrl-C'}."
    if message is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"\nleaf_seg: {message}\n")
