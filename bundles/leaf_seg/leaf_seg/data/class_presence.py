"""Which classes the labels of a data set hold."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)


class ClassPresence:
    """Counts in how many cases each class is, as the cases are prepared.

    Args:
        class_names: background first; None leaves out which classes are in no case.
        what: the cases are, for messages.
        is_needed: whether nothing can be done with empty labels alone; else that is a warning.
    """

    def __init__(
        self, class_names: Sequence[str] | None = None, what: str = "training", is_needed: bool = True
    ) -> None:
        self.class_names = class_names
        self.is_needed = is_needed
        self.what = what
        self._num_cases = 0
        self._num_empty = 0
        self._cases: Counter[int] = Counter()  # by class

    def add(self, label: torch.Tensor) -> None:
        """Count the classes of a case, class numbers [1, *spatial] below 256."""
        self.count(classes_in(label))

    def count(self, present: list[int]) -> None:
        """Count a case by the classes that :func:`classes_in` has found in it."""
        self._num_cases += 1
        self._num_empty += present in ([0], [])
        self._cases.update(present)

    def check(self) -> None:
        """Log how many labels are empty, and warn of classes that are in none.

        Raises:
            InputError: When all labels are empty, and that is too little.
        """
        if self._num_cases and self._num_empty == self._num_cases:
            message = (
                f"None of {self._num_cases} {self.what} labels has any structure, all hold 0 alone; expected some. "
                "Check that the labels are right: a mask of 0 and 1 that was scaled or compressed may have become 0."
            )
            if self.is_needed:
                raise InputError(message)
            logger.warning(message)
            return
        if self._num_empty:
            logger.info("%d of %d %s labels are empty.", self._num_empty, self._num_cases, self.what)
        names = list(self.class_names or ())
        absent = [f"{number} ({name})" for number, name in enumerate(names) if number and not self._cases[number]]
        if absent:
            logger.warning(
                "No %s case has class %s: nothing is learnt or measured of it. Check the labels, or leave it out.",
                self.what,
                shortened(absent),
            )


def classes_in(label: torch.Tensor) -> list[int]:
    """The class numbers that label maps [C, *spatial] hold, in ascending order."""
    found: list[int] = torch.bincount(label.flatten().to(torch.uint8)).nonzero().flatten().tolist()  # unique would sort
    return found
