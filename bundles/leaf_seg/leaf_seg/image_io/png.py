"""PNG."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from leaf_seg.image_io.depth import as_indices, declared_maximum
from leaf_seg.image_io.picture import Picture
from leaf_seg.image_io.png_checksums import check_png
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_BITS, _COLOUR_TYPE = 24, 25  # places in the file
_RGB = 2  # bit of the colour type
_FIRST_CHUNK = 8


class Png(Picture):
    """Pictures without loss, of 1 to 16 bits."""

    name = "PNG"
    suffixes = (".png",)
    signatures = (b"\x89PNG\r\n\x1a\n",)
    plugin = "PIL.PngImagePlugin"

    def check_content(self, path: PathLike) -> None:
        """Compare every checksum."""
        check_png(path)

    def _meant(
        self, array: np.ndarray, maximum: float | None, picture: Image, path: PathLike, is_label: bool
    ) -> tuple[np.ndarray, float | None]:
        """Labels as they are stored; 16 bits of which fewer are significant by the width that is said and used."""
        with open(path, "rb") as file:
            head = file.read(_COLOUR_TYPE + 1)
        bits = head[_BITS]
        if is_label:
            return (as_indices(array, bits) if picture.mode == "L" else array), maximum
        if bits == 16 and (head[_COLOUR_TYPE] & _RGB or picture.mode == "LA"):
            remark("16-bit colours", path, "its colours have 16 bits, of which the upper 8 are read.")
        elif bits == 16:
            return array, declared_maximum(array, _significant_bits(path))
        return array, maximum


def _significant_bits(path: PathLike) -> int:
    """Bits of a grey value that carry something, by the chunk sBIT; 16 where nothing is said."""
    with open(path, "rb") as file:
        file.seek(_FIRST_CHUNK)
        while len(start := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"sBIT":
                return file.read(1)[0] or 16
            if name == b"IDAT":
                break
            file.seek(length + 4, 1)
    return 16
