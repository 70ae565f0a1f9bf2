"""JPEG."""

from leaf_seg.image_io.picture import Picture


class Jpeg(Picture):
    """Pictures of 8 bits whose values have been altered to make them small; no format for labels."""

    name = "JPEG"
    suffixes = (".jpg", ".jpeg")
    signatures = (b"\xff\xd8\xff",)
    plugin = "PIL.JpegImagePlugin"
