"""The error shown to a user whose input cannot be used."""

from __future__ import annotations

from collections.abc import Iterator


class InputError(ValueError):
    """Bad input, found at the door.

    The message says which file or key, what was found, what was expected and what to do.
    """


def input_error_in(error: BaseException) -> InputError | None:
    """The InputError that led to an error, as when MONAI has wrapped it; None where there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, InputError)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, one after the other, each once: an error may have led to itself."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
