"""Errors as answers that say what is wrong: FastAPI would turn other exceptions into a bare 500."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import HTTPException

from leaf_seg.runtime.errors import InputError
from lib.names import brief


@contextmanager
def bad_request() -> Iterator[None]:
    """Answer an InputError inside the block with status 400 and its message."""
    try:
        yield
    except InputError as error:
        raise HTTPException(400, str(error)) from error


def not_found(what: str, name: object, known: Sequence[str]) -> HTTPException:
    """The answer 404 to a name that is not known."""
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return HTTPException(404, f"There is no {what} {brief(name)}; expected one of: {listed or '(there are none)'}.")
