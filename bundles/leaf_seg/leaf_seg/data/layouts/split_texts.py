"""``train.txt``, ``val.txt`` and ``test.txt``: a split as files of names, one a line, as PASCAL VOC has it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from leaf_seg.data.layouts.names import SPLIT_WORDS
from leaf_seg.data.layouts.split_file import split_by_names
from leaf_seg.data.splits import Case, Splits
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import MAX_BYTES
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import one_line, printable, shortened

logger = logging.getLogger(__name__)

_PLACES = (".", "ImageSets/Segmentation", "ImageSets", "splits", "lists")
_OF_A_SPLIT = re.compile(r"(^|[_\-. ])(train|training|val|valid|validation|test|testing|splits?|folds?)\d*([_\-. ]|$)")


def read_split_texts(root: Path, cases: Sequence[Case]) -> Splits | None:
    """The split by a data set's text files; None where there are none, or none for training.

    Args:
        root: folder of the data set.
        cases: of the data set.

    Raises:
        InputError: When a file cannot be read, or names what is no case, or a case twice.
    """
    for place in _PLACES:
        there = _texts(root / place)
        if there:
            logger.info("The split is that of %s in %s.", ", ".join(f"{word}.txt" for word in there), root / place)
            return split_by_names(
                root / place, {word: _first_words(_names(file), root) for word, file in there.items()}, cases, root
            )
    return None


def has_split_texts(root: Path) -> bool:
    """Whether text files split a data set."""
    return any(_texts(root / place) for place in _PLACES)


def _texts(folder: Path) -> dict[str, Path]:
    """The text files of a split by their names; none where there is none for training."""
    files = {word: folder / f"{word}.txt" for word in SPLIT_WORDS}
    there = {word: file for word, file in files.items() if kind_of(file) == FILE}
    return there if "training" in {SPLIT_WORDS[word] for word in there} else {}


def _names(file: Path) -> list[str]:
    """The lines that are not empty; each names a case."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 1024**2} MB")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{printable(file)}: cannot be read as a list of names ({one_line(error)}); correct or remove it."
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _first_words(names: list[str], root: Path) -> list[str]:
    """The images of lines with image and label, as ``images/0.png labels/0.png``; other lines as they are."""
    return [words[0] if len(words := name.split()) == 2 and not (root / name).exists() else name for name in names]


def tell_unread(root: Path) -> None:
    """Log files in a data set's folder that are called as lists of a split, and are not read."""
    suffixes = (".csv", ".tsv", ".txt", ".json", ".xlsx", ".yaml")
    files = sorted(file for file in root.iterdir() if file.suffix.lower() in suffixes)
    unread = [file.name for file in files if _OF_A_SPLIT.search(file.stem.lower())]
    if unread:
        logger.warning(
            "%s: %s are not read, and a split of its own is made. If they split it, list the cases in a datalist .json "
            "or a .csv, or give a split.json.",
            printable(root),
            shortened(unread),
        )
