"""PNG."""

from leaf_seg.image_io.picture import Picture


class Png(Picture):
    """Pictures without loss, of 8 or 16 bits."""

    name = "PNG"
    suffixes = (".png",)
    signatures = (b"\x89PNG\r\n\x1a\n",)
    plugin = "PIL.PngImagePlugin"
