"""PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaf_seg.image_io.picture import Picture
from leaf_seg.image_io.png_checksums import check_png
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    from monai.data import MetaTensor


class Png(Picture):
    """Pictures without loss, of 8 or 16 bits."""

    name = "PNG"
    suffixes = (".png",)
    signatures = (b"\x89PNG\r\n\x1a\n",)
    plugin = "PIL.PngImagePlugin"

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read as other pictures, once every checksum is found right."""
        check_png(path)
        return super().read(path, is_label)
