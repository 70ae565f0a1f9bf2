"""Text for messages, the log and the terminal."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of as many cells each, the columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def shortened(names: Iterable[str], limit: int = 5) -> str:
    """The first names of a list, and how many there are where that is not all: ``a, b, ... (7 in all)``."""
    listed = list(names)
    rest = f", ... ({len(listed)} in all)" if len(listed) > limit else ""
    return ", ".join(map(printable, listed[:limit])) + rest


def nearest(word: str, candidates: Collection[str]) -> str:
    """How a sentence about an unknown word ends: ``; did you mean 'x'?``, or a full stop when no candidate is near."""
    found = difflib.get_close_matches(word, candidates, n=1)
    return f"; did you mean {found[0]!r}?" if found else "."


def first_line(error: BaseException) -> str:
    """The gist of a library's error of many lines; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: object) -> str:
    r"""The text with line breaks and other control characters, which file names may have, as ``\n`` and the like."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def is_unicode(text: object) -> bool:
    """Whether it can be written as UTF-8, which file names that are other bytes cannot."""
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return False
    return True


def one_line(thing: object, limit: int = 300) -> str:
    """The text of a thing that somebody else has made, as one printable line of so many characters at most."""
    text = " ".join(str(thing)[: 4 * limit].split()) or type(thing).__name__
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
