"""Pictures, as Pillow reads and writes them."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.label_channels import label_channels, palette_of
from leaf_seg.image_io.memory import FLOAT_BYTES
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor
    from PIL.Image import Image

# Greatest value that a pixel of a Pillow mode can have. PNG files of 16 bits are read as one of the last four.
_MODE_MAXIMA = {"L": 255, "RGB": 255, "I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535}
_GREY = ("1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B")
_LOCK = threading.Lock()
_DECODED_BYTES = 8  # of a pixel at most, while it is decoded and brought to one or three channels


class Picture(ImageFormat):
    """A format of pictures; its name is Pillow's.

    Results are PNG files, whatever format the picture has: JPEG compression would alter labels. Grey values of a label
    map are the class indices; maps have 16 bits, in which 0 to their maximum becomes 0 to 65535.

    Attributes:
        signatures: what a file begins with, one of them.
        plugin: Pillow's module for the format.
    """

    signatures: ClassVar[tuple[bytes, ...]]
    plugin: ClassVar[str]

    def matches(self, head: bytes) -> bool:
        """Whether the file begins with a signature."""
        return head.startswith(self.signatures)

    def check_header(self, path: PathLike) -> None:
        """Refuse files of several pages, which TIFF, animated PNG and stereo JPEG can be."""
        with self._open(path) as picture:
            if self._has_pages(picture):
                raise InputError("a picture of several pages; expected one. Save each page as a picture of its own.")

    def grid(self, path: PathLike) -> Grid:
        """Rows and columns."""
        with self._open(path) as picture:
            return Grid((picture.height, picture.width))

    def memory(self, path: PathLike) -> int:
        """What decoding takes, and one or three channels as floats."""
        with self._open(path) as picture:
            channels = 1 if picture.mode in _GREY else 3
            return picture.width * picture.height * (_DECODED_BYTES + FLOAT_BYTES * channels)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read one or three channels: transparency is dropped; palettes become colours, of labels their indices.

        Pillow's mode of the result is in ``meta["mode"]``, the greatest value of the file under
        :data:`~leaf_seg.image_io.meta_tensor.MAXIMUM`.
        """
        self.check_content(path)
        import numpy as np

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        with self._open(path) as picture:
            with _own_limit(picture.width * picture.height):
                picture.load()
            converted = label_channels(picture) if is_label else _channels(picture)
            palette = palette_of(picture) if is_label else {}
            array, mode = np.asarray(converted), converted.mode
            del converted
        # Pillow's pixels are gone before they become floats, which take four times as much.
        return as_meta_tensor(array, path, maximum=_MODE_MAXIMA.get(mode), mode=mode, **palette)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write uint8 or uint16 [H, W], or uint8 [H, W, 3]; the format goes by the suffix."""
        from PIL import Image

        Image.fromarray(array).save(path)

    def result_suffix(self, source: PathLike) -> str:
        """PNG."""
        return ".png"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike) -> None:
        """Write class indices as grey values."""
        self.create(label, path, None)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values [H, W] with 16 bits."""
        import numpy as np

        self.create(np.rint(np.clip(values / maximum, 0, 1) * 65535).astype(np.uint16), path, None)

    def _has_pages(self, picture: Image) -> bool:
        """Whether there is more than one page."""
        return getattr(picture, "n_frames", 1) != 1

    @contextmanager
    def _open(self, path: PathLike) -> Iterator[Image]:
        """Open by the format's own plugin of Pillow; within the block pixels can be decoded.

        ``Image.open`` would load every other plugin (that of EPS starts Ghostscript), and refuses or warns of large
        pictures by a limit of its own, which is the process's.
        """
        from PIL import Image

        importlib.import_module(self.plugin)
        create, _ = Image.OPEN[self.name]
        with open(path, "rb") as file, create(file, os.fspath(path)) as picture:
            yield picture


@contextmanager
def _own_limit(pixels: int) -> Iterator[None]:
    """Lift Pillow's limit, which is the process's, where a picture exceeds it that :meth:`Picture.memory` let pass."""
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _channels(picture: Image) -> Image:
    """One or three channels of intensities."""
    if picture.mode in _MODE_MAXIMA:
        return picture
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")
