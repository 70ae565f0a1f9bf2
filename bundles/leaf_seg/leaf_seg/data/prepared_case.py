"""The slices of a prepared case: as arrays, as files, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from leaf_seg.data.structure_widths import Width
from leaf_seg.runtime.files import writing


@dataclass(frozen=True)
class StackFacts:
    """What is known of a stack of slices.

    Attributes:
        axis: slicing direction; None of a picture.
        index: what can be drawn of the stack: (slice, and what a subclass of SliceDataset adds).
        is_empty: whether there is no foreground, of each of these.
        widths: of its structures, as :func:`~leaf_seg.data.structure_widths.measured_widths` gives them.
    """

    axis: str | None
    index: list[tuple[int, ...]]
    is_empty: list[bool]
    widths: list[Width]


@dataclass(frozen=True)
class CutStack:
    """A stack of slices as it is to be written.

    Attributes:
        facts: what is known of it.
        image: float16 [S, C, H, W].
        label: uint8 [S, R, H, W]; R > 1 where there are several raters.
    """

    facts: StackFacts
    image: np.ndarray
    label: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self.image.nbytes + self.label.nbytes

    def save(self, prefix: str) -> None:
        """Write both arrays to the files of :func:`slice_file`."""
        for key, array in (("image", self.image), ("label", self.label)):
            path = slice_file(prefix, key)
            with writing(path, array.nbytes):
                np.save(path, array)


@dataclass(frozen=True)
class PreparedCase:
    """What is known of the slices of a case.

    Attributes:
        prefixes: of the files of each stack.
        stacks: what is known of each stack.
        classes: numbers that the label holds.
    """

    prefixes: list[str]
    stacks: list[StackFacts]
    classes: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the place of the files."""
        return {"stacks": [asdict(stack) for stack in self.stacks], "classes": self.classes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], prefixes: list[str]) -> PreparedCase:
        """Inverse of :meth:`to_dict`, for files with these prefixes; further values are passed over."""
        stacks = [
            StackFacts(
                stack["axis"],
                [tuple(place) for place in stack["index"]],
                stack["is_empty"],
                [(value, width) for value, width in stack["widths"]],
            )
            for stack in values["stacks"]
        ]
        return cls(prefixes, stacks, values["classes"])


def slice_file(prefix: str, key: str) -> str:
    """The file of the images (key "image") or labels ("label") of a stack."""
    return f"{prefix}_{key}.npy"


def as_halves(images: torch.Tensor) -> np.ndarray:
    """Images as they are written: float16."""
    return images.numpy().astype(np.float16)


def as_bytes(labels: torch.Tensor) -> np.ndarray:
    """Labels as they are written: uint8."""
    return labels.numpy().astype(np.uint8)
