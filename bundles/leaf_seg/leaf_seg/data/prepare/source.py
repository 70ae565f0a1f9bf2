"""What is known of a public data set, and what was found in a download of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leaf_seg.image_io.formats import image_suffix
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable, shortened


@dataclass(frozen=True)
class FoundCase:
    """A pair of a download.

    Attributes:
        name: of the case in the prepared folder, without suffix.
        image: file of the image.
        label: file of its label.
        split: that it has in the published split; None where none is published.
        group: its patient or sequence; None where that is not known.
    """

    name: str
    image: Path
    label: Path
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class FoundData:
    """What a download holds.

    Attributes:
        cases: its pairs.
        class_names: background first.
        counts: published numbers of pairs, by split, or under "in all".
        modality: number of the channel that is taken of volumes with several; None takes them as they are.
    """

    cases: Sequence[FoundCase]
    class_names: Sequence[str]
    counts: Mapping[str, int]
    modality: int | None = None


@dataclass(frozen=True)
class Source:
    """A public data set.

    Attributes:
        title: its name.
        find: finds its pairs below a folder, for the modality that a user chooses; an empty list where there are none.
        looks: what a download has in it, for messages.
        classes_of: gray values of a label picture [H, W] to class numbers; None: labels are copied.
        random_split: numbers of cases of a split at random, where papers use one and none is published.
        validation_share: of the training cases, where the published split has none for validation.
    """

    title: str
    find: Callable[[Path, str | None], FoundData]
    looks: str
    classes_of: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    random_split: Mapping[str, int] = field(default_factory=dict)
    validation_share: float = 0.0


def images_below(root: Path) -> list[Path]:
    """Images at any depth, sorted; neither hidden ones nor what macOS leaves in archives. BMP counts, too."""
    files = sorted(
        file for file in root.rglob("*") if not any(part[:1] in "._" for part in file.relative_to(root).parts)
    )
    return [file for file in files if image_suffix(file) or file.suffix.lower() == ".bmp"]


def by_stem(files: Sequence[Path], stem: Callable[[str], str] = str) -> dict[str, Path]:
    """Files by their names without suffix.

    Raises:
        InputError: When two have the same name.
    """
    found: dict[str, Path] = {}
    for file in files:
        suffix = image_suffix(file) or file.suffix
        name = stem(file.name[: len(file.name) - len(suffix)])
        if name in found:
            raise InputError(
                f"{printable(file)} and {printable(found[name])} are the same case; expected one download."
            )
        found[name] = file
    return found


def paired(images: Mapping[str, Path], labels: Mapping[str, Path], root: Path) -> list[str]:
    """Names that are in both, in order.

    Raises:
        InputError: When an image or a label stands alone.
    """
    alone = sorted(set(images) ^ set(labels))
    if alone:
        raise InputError(
            f"{printable(root)}: {len(alone)} images without label, or labels without image: {shortened(alone)}. "
            "Expected the whole download; fetch what is missing."
        )
    return list(images)


def above_half(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where a mask of 0 and 255 is above 127; edges of many have values in between."""
    return (gray > 127).astype(np.uint8)
