"""TIFF."""

from leaf_seg.image_io.picture import Picture
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike


class Tiff(Picture):
    """Pictures of 8 or 16 bits and one page, little-endian or big-endian, also BigTIFF."""

    name = "TIFF"
    suffixes = (".tif", ".tiff")
    signatures = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def check_header(self, path: PathLike) -> None:
        """Refuse several pages, and values of more than 16 bits."""
        super().check_header(path)
        with self._open(path) as picture:
            if picture.mode in ("I", "F"):
                raise InputError(
                    "a TIFF of 32 bits per value; expected 8 or 16. Save it with 16 bits, or as a NIfTI volume."
                )
