"""What a run can do without: figures, records elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from leaf_seg.runtime.termination import raise_if_interrupted

logger = logging.getLogger(__name__)


@contextmanager
def decoration(what: str) -> Iterator[None]:
    """Let the run go on when this part of it fails, and say so in one line.

    Args:
        what: begins the line, as in "The overlay of case_1".

    Raises:
        KeyboardInterrupt: When an interruption has made it fail.
    """
    try:
        yield
    except Exception as error:
        raise_if_interrupted()
        reason = " ".join(str(error).split())
        logger.error("%s failed (%s: %s); the run goes on without it.", what, type(error).__name__, reason)
