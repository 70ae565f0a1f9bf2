"""Pictures, as Pillow reads and writes them."""

from __future__ import annotations

import importlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.label_channels import label_channels, palette_of
from leaf_seg.image_io.memory import FLOAT_BYTES
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor
    from PIL.Image import Image

# Greatest value that a pixel of a Pillow mode can have. PNG files of 16 bits are read as one of the last four.
_MODE_MAXIMA = {"L": 255, "RGB": 255, "I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535}
_GREY = ("1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B")
ORIENTATION = 274  # number of the tag, in EXIF and in TIFF
_LOCK = threading.Lock()
_lifted: list[int | None] = []  # Pillow's limit, for each thread that reads without it
_DECODED_BYTES = 8  # of a pixel at most, while it is decoded and brought to one or three channels


class Picture(ImageFormat):
    """A format of pictures.

    Results are PNG files, whatever format the picture has: JPEG compression would alter labels. Grey values of a label
    map are the class indices; maps have 16 bits, in which 0 to their maximum becomes 0 to 65535.

    Attributes:
        signatures: what a file begins with, one of them.
        plugin: Pillow's module for the format.
        pillow_name: of the format, where Pillow calls it otherwise.
    """

    signatures: ClassVar[tuple[bytes, ...]]
    plugin: ClassVar[str]
    pillow_name: ClassVar[str] = ""

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

    def num_channels(self, path: PathLike) -> int:
        """One of grey values, three of colours."""
        with self._open(path) as picture:
            return channels_of(picture)

    def memory(self, path: PathLike) -> int:
        """What decoding takes, and one or three channels as floats."""
        return (_DECODED_BYTES + FLOAT_BYTES * len(self.chosen_channels(path))) * math.prod(self.grid(path).shape)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read one or three channels: transparency is dropped; palettes become colours, of labels their indices.

        Pillow's mode of the result is in ``meta["mode"]``, the greatest value of the file under
        :data:`~leaf_seg.image_io.meta_tensor.MAXIMUM`.
        """
        self.check_content(path)
        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        with self._open(path) as picture:
            array, meta = self._pixels(picture, path, is_label)
        # Pillow's pixels are gone before they become floats, which take four times as much.
        if self.options.channels is not None:
            array = array[..., list(self.chosen_channels(path))] if array.ndim == 3 else array
        return as_meta_tensor(array, path, **meta)

    def _pixels(self, picture: Image, path: PathLike, is_label: bool) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels [H, W] or [H, W, 3] of an open picture, and what is known of their values."""
        import numpy as np

        with _without_limit():
            picture.load()
        self._remark(picture, path, is_label)
        converted = label_channels(picture) if is_label else _channels(picture)
        palette = palette_of(picture) if is_label else {}
        array, mode = np.asarray(converted), converted.mode
        del converted
        array, maximum = self._meant(array, _MODE_MAXIMA.get(mode), picture, path, is_label)
        return array, {"maximum": maximum, "mode": mode, **palette}

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write uint8 or uint16 [H, W], or uint8 [H, W, 3]; the format goes by the suffix."""
        from PIL import Image

        Image.fromarray(array).save(path)

    def result_suffix(self, source: PathLike) -> str:
        """PNG."""
        return ".png"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices as grey values; without names."""
        self.create(label, path, None)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values [H, W] with 16 bits."""
        import numpy as np

        self.create(np.rint(np.clip(values / maximum, 0, 1) * 65535).astype(np.uint16), path, None)

    def _meant(
        self, array: np.ndarray, maximum: float | None, picture: Image, path: PathLike, is_label: bool
    ) -> tuple[np.ndarray, float | None]:
        """What the file's header makes of the pixels that Pillow gives, and of their greatest possible value."""
        return array, maximum

    def _orientation(self, picture: Image) -> int:
        """How viewers turn the picture; 1 is not at all."""
        return int(picture.getexif().get(ORIENTATION, 1))

    def _remark(self, picture: Image, path: PathLike, is_label: bool) -> None:
        """Say what of the file is left out."""
        with suppress(Exception):  # damaged EXIF data, which nothing here needs
            if (orientation := self._orientation(picture)) in range(2, 9):
                remark(
                    "orientation",
                    path,
                    f"viewers turn it by its orientation tag ({orientation}); pixels are taken as they are stored, and "
                    "so must its label be. Where it was drawn on the turned picture, turn the pixels and drop the tag.",
                )
        if not is_label and _is_transparent(picture):
            remark("transparency", path, "has transparent pixels; their colours are taken as if they were opaque.")

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
        create, _ = Image.OPEN[self.pillow_name or self.name]
        with open(path, "rb") as file:
            with _without_limit():  # which WebP's plugin looks at here
                picture = create(file, os.fspath(path))
            with picture:
                yield picture


@contextmanager
def _without_limit() -> Iterator[None]:
    """Lift Pillow's limit of pixels, which is the process's: :meth:`Picture.memory` is what is judged by."""
    from PIL import Image

    with _LOCK:
        _lifted.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _LOCK:
            before = _lifted.pop()
            if not _lifted:
                Image.MAX_IMAGE_PIXELS = before


def channels_of(picture: Image) -> int:
    """One of grey values, three of colours, which palettes are, too."""
    return 1 if picture.mode in _GREY else 3


def _channels(picture: Image) -> Image:
    """One or three channels of intensities."""
    if picture.mode in _MODE_MAXIMA or picture.mode == "F":
        return picture
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")


def _is_transparent(picture: Image) -> bool:
    """Whether pixels are hidden wholly or partly."""
    if "A" in picture.getbands():
        least, _ = picture.getchannel("A").getextrema()
        return least != 255
    return "transparency" in picture.info
