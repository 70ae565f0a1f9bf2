"""JPEG 2000."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from leaf_seg.image_io.lossy import lossy_coding
from leaf_seg.image_io.picture import Picture
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_SIZES = b"\xff\x4f\xff\x51"  # the marker that a stream begins with
_DEPTH = 42  # from the first marker to the depth of the first component
_SIGNED = 0x80
_SEARCHED_BYTES = 2**20


class Jpeg2000(Picture):
    """Pictures of up to 16 bits, as a file or a bare stream; for labels only where it is without loss."""

    name = "JPEG 2000"
    pillow_name = "JPEG2000"
    suffixes = (".jp2", ".j2k", ".jpx")
    signatures = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _SIZES)
    plugin = "PIL.Jpeg2KImagePlugin"

    def _meant(
        self, array: np.ndarray, maximum: float | None, picture: Image, path: PathLike, is_label: bool
    ) -> tuple[np.ndarray, float | None]:
        """Labels as they are stored: Pillow makes 8 or 16 bits of any depth."""
        if not is_label:
            return array, maximum
        with open(path, "rb") as file:
            head = file.read(_SEARCHED_BYTES)
        start = max(head.find(_SIZES), 0)
        (depth,) = struct.unpack_from("B", head, start + _DEPTH)
        if lossy_coding(path) is not None or depth & _SIGNED:
            raise InputError(
                "the label is a JPEG 2000 with loss, or with signed values, which alters class numbers; expected one "
                "without. Save it as PNG."
            )
        return array >> ((8 if array.dtype.itemsize == 1 else 16) - depth - 1), maximum
