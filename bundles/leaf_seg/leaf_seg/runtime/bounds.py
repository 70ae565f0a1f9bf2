"""What the values of a configuration may be, so that none is used that cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line
from leaf_seg.runtime.values import parse_bool
from leaf_seg.runtime.written_path import check_written


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


class FlagOrFile:
    """True or false, or the path of a JSON file."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is none of them."""
        if not isinstance(value, bool) and not (isinstance(value, str) and value.lower().endswith(".json")):
            raise InputError(f"{name} is {one_line(repr(value), 80)}; expected True, False or a .json file's path.")


class Switch:
    """True or false, also as the words and numbers that a command line has for them."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is neither."""
        parse_bool(value, name)


@dataclass(frozen=True)
class Text:
    """A text that is not empty, or a list of them.

    Attributes:
        what: it is, for the message.
        lengths: least and greatest number of texts in a list; None for a text that stands alone.
        optional: None is allowed, too.
        pattern: regular expression of the whole text.
    """

    what: str
    lengths: tuple[int, int] | None = None
    optional: bool = False
    pattern: str | None = None

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        if value is None and self.optional:
            return
        if self.lengths is None:
            fit = self._is_fit(value)
        else:
            fit = isinstance(value, (list, tuple)) and self.lengths[0] <= len(value) <= self.lengths[1]
            fit = fit and all(map(self._is_fit, value))
        if not fit:
            null = ", or null" if self.optional else ""
            raise InputError(f"{name} is {one_line(repr(value), 80)}; expected {self.what}{null}.")

    def _is_fit(self, value: Any) -> bool:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            return False
        return self.pattern is None or re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Place(Text):
    """The path of a file or folder, in which ``~`` may stand for the home folder, or an address."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        super().check(value, name)
        if value is not None:
            check_written(value, name)


@dataclass(frozen=True)
class Places(Place):
    """A path as of :class:`Place`, or several in a list."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        several = isinstance(value, (list, tuple)) and len(value) > 0
        for path in value if several else (value,):
            Place(self.what, optional=self.optional and not several).check(path, name)


@dataclass(frozen=True)
class Choice:
    """One of some words or numbers, or several.

    Attributes:
        options: to choose from.
        several: a list of them, each once, is allowed.
        alone: one that stands alone is.
        optional: None is allowed, too.
    """

    options: tuple[str | int, ...]
    several: bool = False
    alone: bool = True
    optional: bool = False

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        if value is None and self.optional:
            return
        if self.several and isinstance(value, (list, tuple)):
            fit = all(map(self._is_fit, value)) and len(set(value)) == len(value) and (bool(value) or not self.alone)
        else:
            fit = self.alone and self._is_fit(value)
        if not fit:
            raise InputError(f"{name} is {one_line(repr(value), 80)}; expected {self._expected()}.")

    def _is_fit(self, value: Any) -> bool:
        return isinstance(value, (str, int)) and not isinstance(value, bool) and value in self.options

    def _expected(self) -> str:
        if not self.several:
            kind = "one of "
        elif self.alone:
            kind = "one or a list of several, each once, of "
        else:
            kind = "a list, which may be empty, of some, each once, of "
        return f"{kind}{', '.join(map(str, self.options))}{'; or null' if self.optional else ''}"


class Colours:
    """Colours of 2 to 256 classes, a list of [red, green, blue] or a dictionary of such by name; None is allowed."""

    def check(self, value: Any, name: str) -> None:
        """Raise an InputError with the name when a value is not as it has to be."""
        if value is None:
            return
        listed = list(value.values()) if isinstance(value, Mapping) else value
        is_list = isinstance(listed, (list, tuple))
        if not is_list or not 2 <= len(listed) <= 256 or not all(map(_is_colour, listed)):
            raise InputError(
                f"{name} is {one_line(repr(value), 80)}; expected the colours of 2 to 256 classes, background first, "
                'three whole numbers from 0 to 255 each: "[[0,0,0],[255,0,0]]" or "{\'background\':[0,0,0],'
                "'lesion':[255,0,0]}\", or null."
            )


def _is_colour(value: Any) -> bool:
    is_list = isinstance(value, (list, tuple)) and len(value) == 3
    return is_list and all(type(part) is int and 0 <= part <= 255 for part in value)


Bounds = Mapping[str, Bound | Flag | FlagOrFile | Switch | Text | Choice | Colours]


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
