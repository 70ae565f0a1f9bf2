"""What leaf_seg has to know of a file format to read images in it and to write results beside them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leaf_seg.image_io.memory import FLOAT_BYTES
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

    from leaf_seg.image_io.grid import Grid


class ImageFormat(ABC):
    """A file format of pictures or volumes; one object in :data:`leaf_seg.image_io.formats.FORMATS` stands for each.

    Methods are given files that exist and whose first bytes :meth:`matches` knows, whatever their names are. They may
    raise what their library raises: who calls them says which file cannot be read. A format imports its library where
    it uses it, since the names of files are listed without reading one.

    Attributes:
        name: as users know it.
        suffixes: of file names, in small letters, with the dot; the first is the usual one.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with ``head``, its first 4096 bytes or all of a shorter one, is of this format."""

    @abstractmethod
    def check_header(self, path: PathLike) -> None:
        """Look at the file's header only.

        Raises:
            InputError: Unless the file holds one picture or one volume of real numbers. The message need not name the
                file.
        """

    @abstractmethod
    def grid(self, path: PathLike) -> Grid:
        """Size and place in space, from the file's header only."""

    def files(self, path: PathLike) -> list[Path]:
        """The files that an image is read from.

        Raises:
            InputError: When the header says of none. The message need not name the file.
        """
        return [Path(path)]

    def memory(self, path: PathLike) -> int:
        """Bytes that reading and scaling take at most, from the file's header only."""
        return FLOAT_BYTES * math.prod(self.grid(path).shape)

    def check_content(self, path: PathLike) -> None:  # noqa: B027  # for most there is nothing to look for
        """Look for damage that a library that reads such files leaves out; for a reader in place of :meth:`read`.

        Args:
            path: a file that :meth:`check_header` has passed.

        Raises:
            InputError: Where there is damage. The message need not name the file.
        """

    @abstractmethod
    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the values as they are in the file, all of it, so that what checks the file's soundness is checked.

        Args:
            path: a file that :meth:`check_header` has passed.
            is_label: whether they are class numbers, not intensities.

        Returns:
            float32 [C, H, W], C = 1 or 3, or [1, X, Y, Z], from
            :func:`~leaf_seg.image_io.meta_tensor.as_meta_tensor`; pictures with their ``maximum``.
        """

    @abstractmethod
    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write a new image.

        Args:
            array: picture [H, W] or [H, W, 3], or volume [X, Y, Z], in the dtype to be stored.
            path: file to write, with one of the format's suffixes.
            affine: of a volume, as in :class:`~leaf_seg.image_io.grid.Grid`.
        """

    @abstractmethod
    def result_suffix(self, source: PathLike) -> str:
        """Suffix of the files that are written for an image of this format."""

    @abstractmethod
    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike) -> None:
        """Write a label map in the geometry of an image of this format.

        Args:
            label: class indices, uint8 [*spatial] in the grid of the image.
            source: the image.
            path: file to write, which ends in :meth:`result_suffix`.
        """

    @abstractmethod
    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write real values in the geometry of an image of this format.

        Args:
            values: [*spatial] in the grid of the image; for a volume also [X, Y, Z, K].
            source: the image.
            path: file to write, which ends in :meth:`result_suffix`.
            maximum: largest possible value.
        """
