"""What a run can do without: figures, records elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def decoration(what: str) -> Iterator[None]:
    """Let the run go on when this part of it fails, and say so in one line.

    Args:
        what: begins the line, as in "The overlay of case_1".
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        logger.error("%s failed (%s: %s); the run goes on without it.", what, type(error).__name__, reason)
