"""MGH, FreeSurfer's format of volumes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.affine import check_affine
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.packed import opened, read_to_the_end, unpacked_head
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

_START = struct.Struct(">iiiiii")  # version, three sizes, frames, kind of values
_MOST = 2**20  # voxels along an axis that are no chance
_KINDS = (0, 1, 3, 4, 10)
_STORED_BYTES = 4


class Mgh(ImageFormat):
    """Volumes, of which frames are channels, packed by gzip or not.

    A result has its source's geometry; real values are float32.
    """

    name = "MGH"
    suffixes = (".mgz", ".mgh")

    def matches(self, head: bytes) -> bool:
        """Whether version, sizes and kind of values are those of such a file, which has no mark."""
        start = unpacked_head(head, _START.size)[: _START.size]
        if len(start) < _START.size:
            return False
        version, *sizes, frames, kind = _START.unpack(start)
        return version == 1 and all(0 < size < _MOST for size in (*sizes, frames)) and kind in _KINDS

    def check_header(self, path: PathLike) -> None:
        """Refuse what lies nowhere in space."""
        with _header(path) as (header, _):
            check_affine(header.get_affine())
            if not header["goodRASFlag"] > 0:
                remark("no place", path, "its header does not say where it lies; taken as FreeSurfer's coronal order.")

    def grid(self, path: PathLike) -> Grid:
        """Voxels and affine."""
        with _header(path) as (header, _):
            return Grid(tuple(int(length) for length in header.get_data_shape()[:3]), header.get_affine())

    def num_channels(self, path: PathLike) -> int:
        """Number of frames."""
        with _header(path) as (header, _):
            return math.prod(header.get_data_shape()[3:])

    def memory(self, path: PathLike) -> int:
        """What the voxels take as they are stored, all frames, and as floats."""
        return super().memory(path) + _STORED_BYTES * self.num_channels(path) * math.prod(self.grid(path).shape)

    def check_content(self, path: PathLike) -> None:
        """Unpack a compressed file to its end, which proves its checksum."""
        with _header(path) as (_, stream):
            read_to_the_end(stream)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the voxels in the order of the file."""
        import numpy as np
        from nibabel.freesurfer import MGHImage

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        with _header(path) as (header, stream):
            voxels = np.asarray(MGHImage.ImageArrayProxy(stream, header))
            read_to_the_end(stream)
            affine = header.get_affine()
        if voxels.ndim == 4:
            chosen = self.chosen_channels(path)
            voxels = voxels[..., chosen[0] if len(chosen) == 1 else list(chosen)]
        return as_meta_tensor(voxels, path, affine)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write [X, Y, Z] or [X, Y, Z, K]."""
        import nibabel as nib

        nib.save(nib.freesurfer.MGHImage(array, affine), path)

    def result_suffix(self, source: PathLike) -> str:
        """As the source's, compressed in doubt."""
        return ".mgh" if str(source).lower().endswith(".mgh") else ".mgz"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices; without names."""
        self.create(label, path, self.grid(source).affine)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as they are."""
        self.create(values.astype("float32"), path, self.grid(source).affine)


@contextmanager
def _header(path: PathLike) -> Iterator[tuple[Any, Any]]:
    """The header, and the stream of the unpacked file, within the block."""
    from nibabel.freesurfer.mghformat import MGHHeader

    with opened(path) as stream:
        yield MGHHeader.from_fileobj(stream), stream
