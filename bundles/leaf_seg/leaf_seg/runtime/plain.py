"""What ends a command, said in one line."""

from __future__ import annotations

import sys
from types import TracebackType

from leaf_seg.runtime.errors import InputError, causes, input_error_in
from leaf_seg.runtime.files import no_space_error
from leaf_seg.runtime.text import first_line, printable
from leaf_seg.runtime.told_once import is_first_to_say


def plain_message(error: BaseException) -> str | None:
    """The message for an error that bad input, a full disk or permissions have led to.

    None for others, which are the program's.
    """
    cause = input_error_in(error) or no_space_error(error) or _denied(error) or _left_alone(error)
    return None if cause is None else str(cause)


def _denied(error: BaseException) -> InputError | None:
    """The message where the system did not let the process read or write a file, whoever wanted to."""
    for cause in causes(error):
        if isinstance(cause, PermissionError) and cause.filename is not None:
            return InputError(
                f"{printable(cause.filename)}: cannot be read or written ({cause.strerror}); expected a file or folder "
                "that this user may use. Correct its permissions and those of the folders around it, or choose another."
            )
    return None


def _left_alone(error: BaseException) -> InputError | None:
    """The message where another of several processes has ended, which says why itself; gloo has no error of its own."""
    for cause in causes(error):
        is_torch = any(kind.__name__ == "DistError" for kind in type(cause).__mro__)  # not imported for its sake
        if is_torch or (isinstance(cause, RuntimeError) and "/gloo/" in str(cause)):
            return InputError(
                "Another of the processes has ended or does not answer, and none can go on without it "
                f"({first_line(cause)})."
            )
    return None


def show_errors_plainly() -> None:
    """Let bad input, a full disk, missing permissions or an interruption that ends the process show its message alone.

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
    elif is_first_to_say(message):
        sys.stderr.write(f"\nleaf_seg: {message}\n")


def end(message: str, code: int) -> int:
    """Print why a command of ``python -m leaf_seg`` ends, and return its exit code."""
    print(f"leaf_seg: {message}", file=sys.stderr)  # noqa: T201
    return code
