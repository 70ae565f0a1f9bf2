"""NIfTI in two files, and Analyze 7.5, which it came from."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.nifti import Nifti, header_of
from leaf_seg.image_io.nifti_header import as_volume
from leaf_seg.image_io.packed import opened, read_to_the_end, unpacked_head
from leaf_seg.image_io.pair_files import HEADERS, VOXELS, pair_of, stem_of
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np

_ANALYZE_BYTES = 348  # of a header, which says so itself
_MOST_ANALYZE_BYTES = 352  # as of NIfTI without extensions
_HEADER_BYTES = 540
_ALIGNED = 2  # code of an sform that is not the scanner's


class NiftiPair(Nifti):
    """A header and voxels beside it; either may be named, and be compressed by gzip.

    NIfTI says where the volume lies. Analyze 7.5 does not say which way is left; it is taken as SPM2 and nibabel do:
    from right to left, about SPM's origin or else the middle, by the scale that SPM wrote; or as a ``.mat`` of SPM's
    beside it says. Results are NIfTI in one file.
    """

    name = "NIfTI or Analyze pair"
    suffixes = (*VOXELS, *HEADERS)
    unmarked = VOXELS

    def matches(self, head: bytes) -> bool:
        """Whether it is the header of such a pair."""
        header = unpacked_head(head, _HEADER_BYTES)
        return _is_nifti(header) or (
            _ANALYZE_BYTES <= len(header) <= _MOST_ANALYZE_BYTES
            and header[344:348] != b"n+1\0"
            and _ANALYZE_BYTES in (*struct.unpack("<i", header[:4]), *struct.unpack(">i", header[:4]))
        )

    def has_header(self, path: PathLike) -> bool:
        """Whether a header lies beside the voxels."""
        try:
            header, _ = pair_of(path)
        except InputError:
            return False
        with open(header, "rb") as file:
            return self.matches(file.read(_HEADER_BYTES))

    def files(self, path: PathLike) -> tuple[Path, ...]:
        """The header, the voxels, and SPM's place of Analyze, as far as they are there."""
        try:
            header, voxels = pair_of(path)
        except InputError:
            return (Path(path),)
        mat = _place_beside(voxels)
        return (header, voxels, mat) if mat.is_file() else (header, voxels)

    def check_content(self, path: PathLike) -> None:
        """Unpack both files to their ends, where they are compressed."""
        with opened(pair_of(path)[0]) as stream:
            read_to_the_end(stream)
        super().check_content(path)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None, class_names: Any = ()) -> None:
        """Not done.

        Raises:
            ValueError: Always.
        """
        raise ValueError("New pairs of files are not written; write NIfTI in one file.")

    def result_suffix(self, source: PathLike) -> str:
        """NIfTI's."""
        return ".nii.gz"

    @contextmanager
    def _opened(self, path: PathLike) -> Iterator[tuple[Any, Any]]:
        """Header, and the stream of the unpacked voxels."""
        file, beside = pair_of(path)
        with opened(file) as stream:
            head = stream.read(_HEADER_BYTES)
        if not self.matches(head):
            raise InputError(
                f"its header, {file.name}, is none of NIfTI or Analyze; expected one of them. Export the volume again."
            )
        with opened(beside) as voxels:
            header = header_of(io.BytesIO(head)) if _is_nifti(head) else _of_analyze(head, file, voxels)
            yield as_volume(header), voxels


def _is_nifti(header: bytes) -> bool:
    return header[344:348] == b"ni1\0" or header[4:8] == b"ni2\0"


def _place_beside(file: Path) -> Path:
    """SPM's file that says where the voxels of Analyze lie; need not be there."""
    return file.with_name(f"{stem_of(file)}.mat")


def _of_analyze(head: bytes, file: Path, voxels: Any) -> Any:
    """The header of NIfTI that says what nibabel takes Analyze for."""
    import nibabel as nib
    from nibabel.affines import voxel_sizes
    from nibabel.fileholders import FileHolder

    mat = _place_beside(file)
    files = {
        "header": FileHolder(fileobj=io.BytesIO(head)),
        "image": FileHolder(fileobj=voxels),
        "mat": FileHolder(filename=str(mat)),
    }
    image: Any = nib.Spm2AnalyzeImage.from_file_map(files)
    header: Any = nib.Nifti1Header(endianness=image.header.endianness)
    header.set_data_dtype(image.get_data_dtype())
    header.set_data_shape(image.shape)
    header.set_zooms((*voxel_sizes(image.affine), *image.header.get_zooms()[3:])[: len(image.shape)])
    header["vox_offset"] = image.header["vox_offset"]
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    header.set_slope_inter(slope, intercept)
    header.set_xyzt_units("mm")
    header.set_sform(image.affine, _ALIGNED)
    scaled = "" if (slope, intercept) == (1, 0) else f"; its values are taken times {slope:.4g} plus {intercept:.4g}"
    place = f"it is placed by {mat.name}" if mat.is_file() else "the first axis is taken to run from right to left"
    remark("Analyze", file, f"Analyze 7.5 does not say which way is left; {place}, as SPM and nibabel do{scaled}.")
    return header
