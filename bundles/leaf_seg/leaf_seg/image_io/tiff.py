"""TIFF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leaf_seg.image_io.picture import ORIENTATION, Picture
from leaf_seg.image_io.tiff_values import meant_values
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Numbers of tags, see the TIFF 6.0 specification.
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS_PER_STRIP, _PLANAR = 258, 259, 262, 277, 278, 284
_STRIPS, _TILES = (273, 279), (324, 325)  # where they begin, and how many bytes they have
_TILE_SIZE = (322, 323)
_SIDEWAYS = (5, 6, 7, 8)  # orientations
_TURNED = "leaf_seg_orientation"  # key of what the file's was
_UNCOMPRESSED, _YCBCR, _SEPARATE = 1, 6, 2


class Tiff(Picture):
    """Pictures of 1 to 32 bits and one page, little-endian or big-endian, also BigTIFF.

    Of signed values, and of 12 bits, the greatest possible value is theirs; of 32 bits nothing says it.
    """

    name = "TIFF"
    suffixes = (".tif", ".tiff")
    signatures = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    plugin = "PIL.TiffImagePlugin"

    def check_header(self, path: PathLike) -> None:
        """Refuse several pages, unless they are said to be the slices of a volume."""
        with self._open(path) as picture:
            if self._has_pages(picture):
                raise InputError(
                    "a TIFF of several pages; expected one, or the key tiff_stack, which says that they are the slices "
                    "of a volume: --tiff_stack true. Else save each page as a picture of its own."
                )

    def check_content(self, path: PathLike) -> None:
        """Refuse strips or tiles that do not cover the picture: Pillow fills what is missing with zeros."""
        with self._open(path) as picture:
            check_parts(picture, os.path.getsize(path))

    @contextmanager
    def _open(self, path: PathLike) -> Iterator[Image]:
        """Open with the pixels as they are stored, as those of other formats are.

        Of TIFF alone Pillow turns them as the orientation says, and gives the size that they will have then.
        """
        with super()._open(path) as picture:
            keep_as_stored(picture)
            yield picture

    def _meant(
        self, array: np.ndarray, maximum: float | None, picture: Image, path: PathLike, is_label: bool
    ) -> tuple[np.ndarray, float | None]:
        """What sign, photometric interpretation and depth make of the pixels."""
        return meant_values(array, maximum, picture, path, is_label)

    def _orientation(self, picture: Image) -> int:
        """Of the tag, without which the picture has been opened."""
        return int(picture.info[_TURNED])

    def _has_pages(self, picture: Image) -> bool:
        """Look for a second page; counting pages would go through all of them, of which a file can have millions."""
        try:
            picture.seek(1)
        except EOFError:
            return False
        return True


def keep_as_stored(picture: Image) -> None:
    """Let Pillow leave the pixels of a page as they are stored."""
    tags: ImageFileDirectory_v2 = picture.tag_v2  # type: ignore[attr-defined]
    if tags.get(ORIENTATION) in _SIDEWAYS:
        picture._size = picture.size[::-1]  # which has no setter
    picture.info[_TURNED] = picture.getexif().pop(ORIENTATION, 1)  # by which Pillow turns


def check_parts(picture: Image, file_size: int) -> None:
    """Refuse strips or tiles that are not as many as a page needs, hold too little or lie beyond the file's end.

    How much a compressed one holds is seen when it is decoded.
    """
    tags: ImageFileDirectory_v2 = picture.tag_v2  # type: ignore[attr-defined]
    width, height = picture.size
    tiled = _TILES[0] in tags
    offsets, counts = (tuple(tags.get(tag, ())) for tag in (_TILES if tiled else _STRIPS))
    columns, rows = (tags[tag] for tag in _TILE_SIZE) if tiled else (width, tags.get(_ROWS_PER_STRIP, height))
    if columns < 1 or rows < 1:
        raise InputError(_damaged("its strips or tiles have no size"))
    samples = tags.get(_SAMPLES, 1)
    bits = (tuple(tags.get(_BITS, (1,))) * samples)[:samples]
    planes = [sum(bits)] if tags.get(_PLANAR, 1) != _SEPARATE else list(bits)  # bits of a pixel in each
    per_plane = -(-width // columns) * -(-height // rows)
    if len(offsets) != per_plane * len(planes):
        raise InputError(_damaged(f"{len(offsets)} strips or tiles, and {per_plane * len(planes)} make the picture"))
    if counts and len(counts) != len(offsets):
        raise InputError(_damaged(f"{len(offsets)} strips or tiles, and the sizes of {len(counts)}"))
    is_plain = tags.get(_COMPRESSION, 1) == _UNCOMPRESSED and tags.get(_PHOTOMETRIC) != _YCBCR
    for index, offset in enumerate(offsets):
        needed = 0
        if is_plain:
            here = rows if tiled else min(rows, height - index % per_plane * rows)
            needed = here * ((columns * planes[index // per_plane] + 7) // 8)
        size = counts[index] if counts else needed
        if size < needed or offset + max(size, 1) > file_size:
            raise InputError(_damaged("a strip or tile holds too little, or does not lie in the file"))


def _damaged(what: str) -> str:
    return f"cannot be read ({what}); expected a complete TIFF file. Copy or export the file again, or remove the case."
