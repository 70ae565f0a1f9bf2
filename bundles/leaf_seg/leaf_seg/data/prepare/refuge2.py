"""REFUGE2: 1 200 fundus photographs with optic disc and cup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leaf_seg.data.layouts.names import SPLIT_WORDS, folder_word
from leaf_seg.data.prepare.source import FoundCase, FoundData, Source, by_stem, images_below, paired
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable

_BY_LETTER = {"g": "training", "n": "training", "v": "validation", "t": "testing"}
_COUNTS = dict.fromkeys(("training", "validation", "testing"), 400)
_OF_LABELS = ("disc_cup_masks", "mask", "masks")


def _find(root: Path, modality: str | None) -> FoundData:
    files = images_below(root)
    is_label = {file: any(folder_word(above) in _OF_LABELS for above in _above(file, root)) for file in files}
    labels = by_stem([file for file in files if is_label[file]], str.lower)
    images = by_stem(
        [file for file in files if not is_label[file] and file.suffix.lower() in (".jpg", ".jpeg", ".png")], str.lower
    )
    names = sorted(paired(images, labels, root))
    cases = [FoundCase(name, images[name], labels[name], _split(name, images[name], root)) for name in names]
    return FoundData(cases, ("background", "optic disc", "optic cup"), _COUNTS)


def _above(file: Path, root: Path) -> list[Path]:
    return [folder for folder in file.parents if folder.is_relative_to(root) and folder != root]


def _split(name: str, image: Path, root: Path) -> str:
    """By the folder, train or val or test; else by the first letter: g0001, n0001, V0001, T0001."""
    words = [SPLIT_WORDS[folder_word(above)] for above in _above(image, root) if folder_word(above) in SPLIT_WORDS]
    split = words[0] if words else _BY_LETTER.get(name[:1])
    if split is None:
        raise InputError(
            f"{printable(image)}: is of no split; expected g..., n... (training), V... or T... as its name. Rename it."
        )
    return split


def _classes(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 is background, 128 the disc's rim, 0 the cup."""
    return np.select([gray < 64, gray < 192], [2, 1], 0).astype(np.uint8)


REFUGE2 = Source(
    "REFUGE2",
    _find,
    "photographs g0001.jpg, n0001.jpg, V0001.jpg, T0001.jpg, and Disc_Cup_Masks/ with .bmp files of the same names",
    _classes,
)
