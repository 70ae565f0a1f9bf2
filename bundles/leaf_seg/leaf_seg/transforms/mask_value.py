"""What the masks of a data set hold where its one class is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)

FULL_SCALES = (255.0, 65535.0)  # of 8 and of 16 bits


class MaskValue:
    """The value that stands for "in the mask", the same in all masks of a data set: 1, 255 or 65535.

    The first mask that is not empty decides, which is logged unless it is 1, and others have to be like it. Training
    and validation share one object, so that a mask is not read in one way here and in another there.
    """

    def __init__(self) -> None:
        self._value: float | None = None
        self._file = ""
        self._heard: list[float] | None = None

    @contextmanager
    def heard(self) -> Iterator[list[float]]:
        """The values that masks are found to have in the block; the list grows."""
        heard: list[float] = []
        self._heard = heard
        try:
            yield heard
        finally:
            self._heard = None

    def hold(self, value: float, file: str) -> None:
        """Keep to the value of a mask.

        Args:
            value: greatest of the mask.
            file: of the mask, for messages.

        Raises:
            InputError: When a mask before had another.
        """
        if self._heard is not None:
            self._heard.append(value)
        if self._value is None:
            self._value, self._file = value, file
            if value != 1:
                logger.info("Masks of this data set hold 0 and %.0f; %.0f is read as 1 (as in %s).", value, value, file)
        elif value != self._value:
            raise InputError(
                f"Label {file} holds 0 and {value:.0f}, and {self._file} holds 0 and {self._value:.0f}; expected the "
                "same in all masks of a data set. Save both in one way, as 0 and 1."
            )
