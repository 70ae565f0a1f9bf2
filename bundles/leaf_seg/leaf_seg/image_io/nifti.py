"""NIfTI, the format of volumes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from leaf_seg.image_io.affine import check_affine
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.nifti_header import (
    affine_of,
    as_volume,
    check_place,
    check_shape,
    check_values,
    in_millimetres,
    remark_on_place,
    without_channels,
)
from leaf_seg.image_io.nifti_names import add_class_names
from leaf_seg.image_io.packed import opened, read_to_the_end, unpacked_head
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

_HEADER_BYTES = 352  # as far as the mark of NIfTI-1
_HEADERS_BYTES = 540  # as long as a header of NIfTI-2, the longer one
_FLOAT64_BYTES = 8
_SLAB_VOXELS = 2**21  # read and scaled at a time


class Nifti(ImageFormat):
    """NIfTI-1 and NIfTI-2 in one file, compressed by gzip or not, with any number of channels along a fourth axis.

    A result has its source's affine, qform and sform codes, units and voxel sizes; real values are float32.
    """

    name = "NIfTI"
    suffixes: ClassVar[tuple[str, ...]] = (".nii.gz", ".nii")

    def matches(self, head: bytes) -> bool:
        """Whether the header's mark is there, in what gzip unpacks where the file is compressed."""
        return _version(unpacked_head(head, _HEADER_BYTES)) is not None

    def check_header(self, path: PathLike) -> None:
        """Refuse voxels that are no real numbers, more than one axis of channels, and what lies nowhere in space."""
        with self._opened(path) as (header, _):
            check_values(header)
            check_shape(header.get_data_shape())
            check_place(header)

    def grid(self, path: PathLike) -> Grid:
        """Voxels and affine, of the sform where there is one, in mm whatever the header's units are."""
        with self._opened(path) as (header, _):
            return Grid(tuple(header.get_data_shape()[:3]), in_millimetres(affine_of(header), header))

    def num_channels(self, path: PathLike) -> int:
        """Length of the fourth axis."""
        with self._opened(path) as (header, _):
            return math.prod(header.get_data_shape()[3:])

    def memory(self, path: PathLike) -> int:
        """What the voxels take as floats, and while some slices are scaled."""
        with self._opened(path) as (header, _):
            shape, stored = header.get_data_shape(), header.get_data_dtype().itemsize
        slab = shape[0] * shape[1] * _slab_depth(shape)
        return super().memory(path) + (stored + _FLOAT64_BYTES) * slab

    def check_content(self, path: PathLike) -> None:
        """Unpack a compressed file to its end, which proves its checksum."""
        with self._opened(path) as (header, stream):
            size = header.get_data_dtype().itemsize * math.prod(header.get_data_shape())
            stream.seek(header.get_data_offset() + size)
            read_to_the_end(stream)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the voxels in the order of the file; MONAI corrects an sform or qform that contradicts their size.

        A compressed file is unpacked to its end, which proves its checksum.
        """
        from monai.data.utils import correct_nifti_header_if_necessary
        from nibabel.arrayproxy import ArrayProxy

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        channels = self.chosen_channels(path)
        with self._opened(path) as (header, stream):
            voxels = _voxels(ArrayProxy(stream, header.copy()), channels)
            read_to_the_end(stream)
            image = _image(without_channels(header), stream)
        corrected: Any = correct_nifti_header_if_necessary(image)
        affine = in_millimetres(corrected.affine, header)
        check_affine(affine)
        remark_on_place(header, path)
        return as_meta_tensor(voxels, path, affine)

    def create(
        self, array: np.ndarray, path: PathLike, affine: np.ndarray | None, class_names: Sequence[str] = ()
    ) -> None:
        """Write [X, Y, Z] in millimetres, in the scanner's space; a label map with the names of its classes."""
        import nibabel as nib
        import numpy as np

        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, "scanner")
        image.set_qform(affine, "scanner")
        if not np.allclose(image.get_qform(), image.affine, atol=1e-3):  # as of a tilted gantry, which no qform can say
            image.set_qform(None, code=0)
        add_class_names(image.header, class_names)
        nib.save(image, path)

    def result_suffix(self, source: PathLike) -> str:
        """As the source's, compressed in doubt."""
        return ".nii" if str(source).lower().endswith(".nii") else ".nii.gz"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices, with the names of the classes in a comment of the header."""
        self._write(label, source, path, class_names)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as they are."""
        import numpy as np

        self._write(values.astype(np.float32), source, path)

    @contextmanager
    def _opened(self, path: PathLike) -> Iterator[tuple[Any, Any]]:
        """Header, and the stream of the unpacked file, from which voxels can be read within the block.

        nibabel itself goes by the suffix and would not open a file that is called otherwise. It would also keep and
        parse the extensions of a header, such as DICOM or XML of any size, which nothing here needs.
        """
        with opened(path) as stream:
            yield as_volume(header_of(stream)), stream

    def _write(self, array: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write [X, Y, Z] or [X, Y, Z, K] with the source's geometry.

        The source's own extensions are left out: they may say who the patient is.
        """
        import nibabel as nib

        with self._opened(source) as (header, stream):
            image = _image(without_channels(header), stream)
        header = image.header.copy()
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape)
        header.set_zooms((*image.header.get_zooms(), 1.0)[: array.ndim])
        header["cal_min"] = header["cal_max"] = 0  # the source's display window, of no use here
        header["vox_offset"] = 0  # where the source's extensions ended
        add_class_names(header, class_names)
        nib.save(type(image)(array, image.affine, header), path)


def _version(header: bytes) -> int | None:
    """1 or 2, as the mark of a header says; None without one."""
    if header[344:348] == b"n+1\0":
        return 1
    return 2 if header[4:8] == b"n+2\0" else None


def header_of(stream: Any) -> Any:
    """Nibabel's header of NIfTI-1 or NIfTI-2, with which a stream begins."""
    import nibabel as nib

    head = stream.read(_HEADERS_BYTES)
    kind: Any = nib.Nifti2Header if head[4:8] in (b"n+2\0", b"ni2\0") else nib.Nifti1Header
    return kind(head[: kind.template_dtype.itemsize])


def _image(header: Any, stream: Any) -> Any:
    """The image of nibabel, whose voxels are still in the stream."""
    import nibabel as nib
    from nibabel.arrayproxy import ArrayProxy

    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(ArrayProxy(stream, header.copy()), header.get_best_affine(), header)


def _voxels(stored: Any, channels: Sequence[int]) -> np.ndarray:
    """Voxels of nibabel's array in a file as float32, scaled some slices at a time: nibabel scales to float64.

    Args:
        stored: [X, Y, Z] or [X, Y, Z, C].
        channels: that are read; of a volume without that axis the number 0.

    Returns:
        [X, Y, Z] of one channel, [X, Y, Z, len(channels)] of several.
    """
    import numpy as np

    shape, depth = stored.shape[:3], _slab_depth(stored.shape)
    voxels = np.empty(shape if len(channels) == 1 else (*shape, len(channels)), np.float32)
    by_channel = voxels.reshape(*shape, -1)
    with np.errstate(over="ignore", invalid="ignore"):  # who reads refuses what is not finite
        for channel in sorted(set(channels)):  # gzip goes forwards only
            places = [place for place, number in enumerate(channels) if number == channel]
            for start in range(0, shape[2], depth):
                slices = (slice(None), slice(None), slice(start, start + depth))
                slab = stored[slices if len(stored.shape) == 3 else (*slices, channel)]
                for place in places:
                    by_channel[slices][..., place] = slab
                del slab  # before the next one is read
    return voxels


def _slab_depth(shape: Sequence[int]) -> int:
    """How many slices are read at a time."""
    return max(1, min(shape[2], _SLAB_VOXELS // (shape[0] * shape[1])))
