"""TIFF files whose pages are the slices of a volume."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.memory import FLOAT_BYTES
from leaf_seg.image_io.picture import channels_of
from leaf_seg.image_io.remarks import remark
from leaf_seg.image_io.tiff import Tiff, check_parts, keep_as_stored
from leaf_seg.image_io.tiff_description import StackLayout, described, stack_layout
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor
    from PIL.Image import Image

_MOST_PAGES = 100_000
# Size, bits, compression, photometric interpretation, samples and sample format: the same of all pages.
_SAME = {256: "width", 257: "height", 258: "bits", 259: "compression", 262: "colours", 277: "samples", 339: "format"}
_PAGE_BYTES = 8  # of a pixel, while its page is decoded
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 270, 282, 283, 296
_NO_UNIT = 1
_MOST_PARTS = 10**6  # of a number in a file


class TiffStack(Tiff):
    """Volumes [X, Y, Z]: columns, rows and pages. Pages may be of channels, too, or of colours, which are channels.

    Columns run to the left, rows to the back and pages up, as ITK and 3D Slicer place such files. Results are stacks,
    too, with the same voxel sizes, in the way of ImageJ.
    """

    def check_header(self, path: PathLike) -> None:
        """Refuse pages that differ, and time points."""
        with self._open(path) as picture:
            layout = _layout(picture)
            if layout.channels > 1 and channels_of(picture) > 1:
                raise InputError(
                    f"a TIFF of {layout.channels} channels in colours; expected one of the two. Save it in grey."
                )

    def grid(self, path: PathLike) -> Grid:
        """Columns, rows and pages; sizes in mm, 1 where the file does not say them."""
        with self._open(path) as picture:
            return _grid(picture, _layout(picture))

    def num_channels(self, path: PathLike) -> int:
        """Of the pages, or of their colours."""
        with self._open(path) as picture:
            return _layout(picture).channels * channels_of(picture)

    def chosen_channels(self, path: PathLike) -> tuple[int, ...]:
        """As of every volume."""
        return self.options.chosen(self.num_channels(path), is_volume=True)

    def memory(self, path: PathLike) -> int:
        """What a page takes while it is decoded, and the voxels as floats."""
        shape = self.grid(path).shape
        return FLOAT_BYTES * math.prod(shape) * len(self.chosen_channels(path)) + _PAGE_BYTES * math.prod(shape[:2])

    def check_content(self, path: PathLike) -> None:
        """Refuse strips or tiles that do not cover their page."""
        with self._open(path) as picture:
            for page in _pages(picture):
                check_parts(page, os.path.getsize(path))

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the pages of the chosen channels."""
        import numpy as np

        from leaf_seg.image_io.meta_tensor import HAS_SIZE, as_meta_tensor

        meta: dict[str, Any] = {}
        with self._open(path) as picture:
            layout, is_coloured = _layout(picture), channels_of(picture) > 1
            chosen = self.options.chosen(layout.channels * channels_of(picture), is_volume=True)
            grid = _grid(picture, layout)
            voxels = np.empty(grid.shape if len(chosen) == 1 else (*grid.shape, len(chosen)), np.float32)
            by_channel = voxels.reshape(*grid.shape, -1)
            for number, page in enumerate(_pages(picture)):
                check_parts(page, os.path.getsize(path))
                place, channel = layout.place(number)
                if not is_coloured and channel not in chosen:
                    continue
                pixels, meta = self._pixels(page, path, is_label)
                if is_coloured:
                    by_channel[:, :, place] = pixels.swapaxes(0, 1)[..., list(chosen)]
                else:
                    by_channel[:, :, place, [one == channel for one in chosen]] = pixels.T[..., None]
        if layout.size is None:
            remark("no size", path, "does not say how large its voxels are in mm; they are taken as 1 x 1 x 1 mm.")
        return as_meta_tensor(voxels, path, grid.affine, **meta, **{HAS_SIZE: layout.size is not None})

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write [X, Y, Z], or [X, Y, Z, K] with K pages for each slice, without loss; of the affine the sizes count."""
        import numpy as np
        from PIL import Image

        by_channel = array.reshape(*array.shape[:3], -1)
        slices, channels = by_channel.shape[2:]
        text, resolutions = described(Grid(array.shape[:3], affine).spacing, channels, slices)
        tags: dict[int, Any] = {_DESCRIPTION: text, _UNIT: _NO_UNIT}
        for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), resolutions, strict=True):
            tags[tag] = _fraction(value)
        first, *others = (
            Image.fromarray(np.ascontiguousarray(by_channel[:, :, place, channel].T))
            for place in range(slices)
            for channel in range(channels)
        )
        first.save(path, "TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate", tiffinfo=tags)

    def result_suffix(self, source: PathLike) -> str:
        """As the source's."""
        return ".tiff" if str(source).lower().endswith(".tiff") else ".tif"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices; TIFF has no place for the names."""
        self.create(label, path, self.grid(source).affine)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as they are, with 32 bits."""
        self.create(values.astype("float32"), path, self.grid(source).affine)


def _layout(picture: Image) -> StackLayout:
    """What the pages are; the first one is open afterwards."""
    tags = dict(picture.tag_v2)  # type: ignore[attr-defined]
    count = 0
    for page in _pages(picture):
        own = page.tag_v2  # type: ignore[attr-defined]
        unlike = [name for tag, name in _SAME.items() if own.get(tag) != tags.get(tag)]
        if unlike:
            raise InputError(
                f"a TIFF whose page {count + 1} has another {' and '.join(unlike)} than the first; expected the same "
                "of all, which are slices of a volume. Save it as a stack, without previews."
            )
        count += 1
    picture.seek(0)
    keep_as_stored(picture)
    return stack_layout(tags, count)


def _pages(picture: Image) -> Iterator[Image]:
    """Open page after page."""
    for number in range(_MOST_PAGES + 1):
        try:
            picture.seek(number)
        except EOFError:
            return
        keep_as_stored(picture)
        yield picture
    raise InputError(f"a TIFF of more than {_MOST_PAGES} pages; expected slices of a volume. Split it.")


def _grid(picture: Image, layout: StackLayout) -> Grid:
    import numpy as np

    x, y, z = layout.size or (1.0, 1.0, 1.0)
    return Grid((picture.width, picture.height, layout.slices), np.diag([-x, -y, z, 1.0]))


def _fraction(value: float) -> Any:
    """A number as TIFF stores it."""
    from PIL.TiffImagePlugin import IFDRational

    fraction = Fraction(value).limit_denominator(_MOST_PARTS)
    return IFDRational(fraction.numerator, fraction.denominator)
