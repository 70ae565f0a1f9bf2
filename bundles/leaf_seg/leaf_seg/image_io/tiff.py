"""TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaf_seg.image_io.picture import Picture
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image


class Tiff(Picture):
    """Pictures of 8 or 16 bits and one page, little-endian or big-endian, also BigTIFF."""

    name = "TIFF"
    suffixes = (".tif", ".tiff")
    signatures = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    plugin = "PIL.TiffImagePlugin"

    def check_header(self, path: PathLike) -> None:
        """Refuse several pages, and values of more than 16 bits."""
        super().check_header(path)
        with self._open(path) as picture:
            if picture.mode in ("I", "F"):
                raise InputError(
                    "a TIFF of 32 bits per value; expected 8 or 16. Save it with 16 bits, or as a NIfTI volume."
                )

    def _has_pages(self, picture: Image) -> bool:
        """Look for a second page; counting pages would go through all of them, of which a file can have millions."""
        try:
            picture.seek(1)
        except EOFError:
            return False
        return True
