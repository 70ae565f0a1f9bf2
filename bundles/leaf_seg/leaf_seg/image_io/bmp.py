"""BMP."""

import struct

from leaf_seg.image_io.picture import Picture

_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)  # of its versions


class Bmp(Picture):
    """Pictures of Windows, without loss, of 1 to 8 bits."""

    name = "BMP"
    suffixes = (".bmp",)
    signatures = (b"BM",)
    plugin = "PIL.BmpImagePlugin"

    def matches(self, head: bytes) -> bool:
        """Whether it begins with the two letters, and a header of a known version follows."""
        return super().matches(head) and len(head) > 18 and struct.unpack_from("<I", head, 14)[0] in _HEADER_SIZES
