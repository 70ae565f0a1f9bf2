"""What a run does for people to look at, and can do without."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from leaf_seg.runtime.text import first_line

logger = logging.getLogger(__name__)


@contextmanager
def decoration(what: str) -> Iterator[None]:
    """Log what goes wrong in the block in one line, and go on: a figure must not cost a training or a result.

    Args:
        what: is done in the block, such as "The overlay of case 7".
    """
    try:
        yield
    except Exception as error:  # of whatever library
        logger.error("%s failed, and is left out (%s: %s).", what, type(error).__name__, first_line(error))
