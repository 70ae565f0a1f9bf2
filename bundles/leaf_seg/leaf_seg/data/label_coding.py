"""How label files say which class a pixel has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import LABEL_COLORS
from leaf_seg.runtime.text import one_line

INDEX, ONE_HOT, PROBABILITY = "index", "one_hot", "probability"
ENCODINGS = (INDEX, ONE_HOT, PROBABILITY)

Colour = tuple[int, int, int]


def check_label_encoding(encoding: Any) -> str:
    """The encoding, if it is one of :data:`ENCODINGS`.

    Raises:
        InputError: When it is something else.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"label_encoding is {one_line(repr(encoding), 80)}; expected one of {', '.join(ENCODINGS)}.")
    return str(encoding)


def check_label_colors(colors: Any) -> tuple[Colour, ...] | None:
    """The colours of the classes in their order, background first; None where none are given.

    Args:
        colors: a list of [red, green, blue], 0 to 255 each, or a dictionary of such lists by the names of the classes.

    Raises:
        InputError: When it is something else, or two classes have the same colour.
    """
    LABEL_COLORS.check(colors, "label_colors")
    if colors is None:
        return None
    listed = list(colors.values()) if isinstance(colors, Mapping) else colors
    found = [(int(red), int(green), int(blue)) for red, green, blue in listed]
    twice = next((colour for colour in found if found.count(colour) > 1), None)
    if twice is not None:
        raise InputError(f"label_colors has the colour {list(twice)} twice; expected another for each class.")
    return tuple(found)


def names_in(colors: Any) -> list[str] | None:
    """The names of the classes, where the colours are given by name."""
    return [str(name) for name in colors] if isinstance(colors, Mapping) else None
