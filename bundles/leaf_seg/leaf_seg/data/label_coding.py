"""How label files say which class a pixel has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import CLASSES
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
    if colors is None:
        return None
    listed = list(colors.values()) if isinstance(colors, Mapping) else colors
    is_list = isinstance(listed, Sequence) and not isinstance(listed, str)
    if not is_list or not CLASSES.low <= len(listed) <= CLASSES.high or not all(map(_is_colour, listed)):
        raise InputError(
            f"label_colors is {one_line(repr(colors), 80)}; expected the colours of 2 to 256 classes, background "
            'first, three whole numbers from 0 to 255 each: "[[0,0,0],[255,0,0]]" or "{\'background\':[0,0,0],'
            "'lesion':[255,0,0]}\"."
        )
    found = [(int(red), int(green), int(blue)) for red, green, blue in listed]
    twice = next((colour for colour in found if found.count(colour) > 1), None)
    if twice is not None:
        raise InputError(f"label_colors has the colour {list(twice)} twice; expected another for each class.")
    return tuple(found)


def names_in(colors: Any) -> list[str] | None:
    """The names of the classes, where the colours are given by name."""
    return [str(name) for name in colors] if isinstance(colors, Mapping) else None


def _is_colour(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3
    return is_list and all(type(part) is int and 0 <= part <= 255 for part in value)
