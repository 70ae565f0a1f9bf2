"""PNG."""

from __future__ import annotations

from leaf_seg.image_io.picture import Picture
from leaf_seg.image_io.png_checksums import check_png
from leaf_seg.runtime.files import PathLike


class Png(Picture):
    """Pictures without loss, of 8 or 16 bits."""

    name = "PNG"
    suffixes = (".png",)
    signatures = (b"\x89PNG\r\n\x1a\n",)
    plugin = "PIL.PngImagePlugin"

    def check_content(self, path: PathLike) -> None:
        """Compare every checksum."""
        check_png(path)
