"""NIfTI, the format of volumes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 352  # as far as the mark of NIfTI-1


class Nifti(ImageFormat):
    """NIfTI-1 and NIfTI-2 in one file, compressed by gzip or not.

    A result has its source's affine, qform and sform codes, units and voxel sizes; real values are float32.
    """

    name = "NIfTI"
    suffixes = (".nii.gz", ".nii")

    def matches(self, head: bytes) -> bool:
        """Whether the header's mark is there, in what gzip unpacks where the file is compressed."""
        return _version(_unpacked(head)) is not None

    def check_header(self, path: PathLike) -> None:
        """Refuse voxels that are no real numbers, and other than three dimensions."""
        with _opened(path) as image:
            dtype, shape = image.get_data_dtype(), image.shape
        if dtype.names is not None or dtype.kind == "c":
            found = "complex numbers" if dtype.names is None else "RGB colours"
            raise InputError(f"the voxels are {found} ({dtype}); expected one real number each. Convert the volume.")
        if len(shape) != 3:
            raise InputError(
                f"a {len(shape)}D NIfTI of shape {tuple(shape)}; expected a 3D volume (X, Y, Z). Split channels or "
                "time points into volumes of their own, and save single slices as PNG."
            )

    def grid(self, path: PathLike) -> Grid:
        """Voxels and affine, of the sform where there is one."""
        with _opened(path) as image:
            return Grid(tuple(image.shape), image.affine)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the voxels in the order of the file; MONAI corrects an sform or qform that contradicts their size."""
        import numpy as np
        from monai.data.utils import correct_nifti_header_if_necessary

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        with _opened(path) as image:
            corrected: Any = correct_nifti_header_if_necessary(image)
            return as_meta_tensor(np.asanyarray(image.dataobj), path, corrected.affine)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write [X, Y, Z] in millimetres, in the scanner's space."""
        import nibabel as nib

        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, "scanner")
        image.set_qform(affine, "scanner")
        nib.save(image, path)

    def result_suffix(self, source: PathLike) -> str:
        """As the source's, compressed in doubt."""
        return ".nii" if str(source).lower().endswith(".nii") else ".nii.gz"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike) -> None:
        """Write class indices."""
        _write(label, source, path)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as they are."""
        import numpy as np

        _write(values.astype(np.float32), source, path)


def _unpacked(head: bytes) -> bytes:
    """The first bytes of a file, where they are gzip's those of what is packed, as far as they can be."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, _HEADER_BYTES)
    except zlib.error:
        return b""


def _version(header: bytes) -> int | None:
    """1 or 2, as the mark of a header says; None without one."""
    if header[344:348] == b"n+1\0":
        return 1
    return 2 if header[4:8] == b"n+2\0" else None


@contextmanager
def _opened(path: PathLike) -> Iterator[Any]:
    """Open as nibabel's image; voxels can be read within the block.

    nibabel itself goes by the suffix and would not open a file that is called otherwise.
    """
    import nibabel as nib

    with open(path, "rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        version = _version(stream.read(_HEADER_BYTES))
        stream.seek(0)
        yield (nib.Nifti2Image if version == 2 else nib.Nifti1Image).from_stream(stream)


def _write(array: np.ndarray, source: PathLike, path: PathLike) -> None:
    """Write [X, Y, Z] or [X, Y, Z, K] with the source's geometry."""
    import nibabel as nib

    with _opened(source) as image:
        header = image.header.copy()
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape)
        header.set_zooms((*image.header.get_zooms(), 1.0)[: array.ndim])
        header["cal_min"] = header["cal_max"] = 0  # the source's display window, of no use here
        nib.save(type(image)(array, image.affine, header), path)
