"""What the values of a configuration may be, so that none is used that cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line


@dataclass(frozen=True)
class Bound:
    """A number, or a list of numbers, from low to high.

    Attributes:
        low: the least that is allowed.
        high: the greatest.
        whole: only integers.
        above: the least is not allowed itself.
        lengths: least and greatest number of numbers in a list; None for a number that stands alone.
        alone: a list may be replaced by a number that stands alone.
        optional: None is allowed, too.
    """

    low: float
    high: float
    whole: bool = True
    above: bool = False
    lengths: tuple[int, int] | None = None
    alone: bool = False
    optional: bool = False

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        if value is None and self.optional:
            return
        if self.lengths is None or (self.alone and not isinstance(value, (list, tuple))):
            fit = self._is_fit(value)
        else:
            is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
            fit = is_list and self.lengths[0] <= len(value) <= self.lengths[1] and all(map(self._is_fit, value))
        if not fit:
            raise InputError(f"{name} is {one_line(repr(value), 80)}; expected {self._expected()}.")

    def _is_fit(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.low <= value <= self.high and not (self.above and value == self.low)  # which NaN is not

    def _expected(self) -> str:
        kind = "whole number" if self.whole else "number"
        span = f"{'above ' if self.above else ''}{self.low:.15g} to {self.high:.15g}"
        if self.lengths is None:
            text = f"a {kind}, {span}"
        else:
            least, most = self.lengths
            count = str(least) if least == most else f"{least} to {most}"
            text = f"{count} {kind}s, each {span}{', or one alone' if self.alone else ''}"
        return f"{text}{', or null' if self.optional else ''}"


class Flag:
    """True or false."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is neither."""
        if not isinstance(value, bool):
            raise InputError(f"{name} is {one_line(repr(value), 80)}; expected true or false.")


Bounds = Mapping[str, Bound | Flag]


def check_bounds(values: Mapping[str, Any], bounds: Bounds, where: str = "") -> None:
    """Check the values of a configuration whose keys are in the table; others are left to who takes them.

    Args:
        values: by their keys.
        bounds: by the same keys.
        where: what stands before the key in the message.

    Raises:
        InputError: Names the first key with an unfit value, what was found, and what is allowed.
    """
    for key, bound in bounds.items():
        if key in values:
            bound.check(values[key], f"{where}{key}")
