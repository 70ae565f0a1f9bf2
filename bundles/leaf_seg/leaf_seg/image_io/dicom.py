"""DICOM: a file, or the files of a series in a folder or a zip archive."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from leaf_seg.image_io.dicom_frames import read_slices, rescaling_of
from leaf_seg.image_io.dicom_slice import HEAD_BYTES, dataset, is_dicom, pixels_of
from leaf_seg.image_io.dicom_stack import DicomStack, stacked
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.nifti import Nifti
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

_ZIP = b"PK\x03\x04"
_MOST_UNPACKED_BYTES = 8 * 10**9
_MOST_LOOKED_AT = 20  # files of a folder or archive in which one is looked for


class Dicom(ImageFormat):
    """Volumes of the slices of one series, each a file or a frame; a single file may be a volume of one slice.

    Read by pydicom, and compressed pixels by what it finds: GDCM, Pillow. Results are NIfTI files in the same place.
    """

    name = "DICOM"
    suffixes = (".dcm", ".zip")

    def matches(self, head: bytes) -> bool:
        """Whether it is a DICOM file, or an archive, which is looked into later."""
        return is_dicom(head) or head.startswith(_ZIP)

    def check_header(self, path: PathLike) -> None:
        """Refuse what is not one volume; see :func:`~leaf_seg.image_io.dicom_stack.stacked`."""
        dicom_stack(path)

    def grid(self, path: PathLike) -> Grid:
        """Columns, rows, slices, and the affine by the places of the slices."""
        return dicom_stack(path).grid

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the slices, rescaled; see :func:`~leaf_seg.image_io.dicom_slice.pixels_of`."""
        import numpy as np

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        stack = dicom_stack(path)
        voxels = np.empty(stack.grid.shape, np.float32)
        with dicom_files(path) as files:
            opened, found = "", None
            for index, (name, frame) in enumerate(stack.slices):
                if name != opened:
                    opened, found = name, dataset(files[name], with_pixels=True)
                voxels[..., index] = pixels_of(found, frame, rescaling_of(found, frame))
        return as_meta_tensor(voxels, path, stack.grid.affine)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Not done.

        Raises:
            ValueError: Always.
        """
        raise ValueError("New DICOM files are not written; write NIfTI.")

    def result_suffix(self, source: PathLike) -> str:
        """NIfTI's."""
        return ".nii.gz"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices as NIfTI, with the names of the classes."""
        Nifti().create(label, path, self.grid(source).affine, class_names)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as NIfTI."""
        Nifti().create(values.astype("float32"), path, self.grid(source).affine)


def holds_dicom(path: PathLike) -> bool:
    """Whether a folder, or a zip archive, has DICOM files; never raises."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in [entry for entry in archive.infolist() if not entry.is_dir()][:_MOST_LOOKED_AT]:
                    with archive.open(entry) as file:
                        if is_dicom(file.read(HEAD_BYTES)):
                            return True
            return False
        files = (entry for entry in os.scandir(path) if entry.is_file() and not entry.name.startswith("."))
        return any(is_dicom(_head(entry.path)) for entry, _ in zip(files, range(_MOST_LOOKED_AT), strict=False))
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return False


def are_single(folder: PathLike) -> bool:
    """Whether every DICOM file of a folder has a name that ends in .dcm and a series of its own, as X-rays do."""
    with dicom_files(folder) as files:
        if len(files) < 2 or not all(name.lower().endswith(".dcm") for name in files):
            return False
        series = [dataset(file, with_pixels=False).get("SeriesInstanceUID") for file in files.values()]
    return len(set(series)) == len(series)


def dicom_stack(path: PathLike) -> DicomStack:
    """The slices of a file, a folder or an archive.

    Raises:
        InputError: When they are not one volume. The message need not name the path.
    """
    state = os.stat(path)
    return _stack(os.path.abspath(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)  # header, grid, size and voxels are asked for one after the other
def _stack(path: str, _changed: int, _size: int) -> DicomStack:
    with dicom_files(path) as files:
        return stacked([found for name, file in files.items() for found in read_slices(file, name)])


@contextmanager
def dicom_files(path: PathLike) -> Iterator[dict[str, Path]]:
    """The DICOM files at a path by their names; those of an archive are there within the block."""
    if Path(path).is_dir():
        yield {file.name: file for file in sorted(Path(path).iterdir()) if file.is_file() and is_dicom(_head(file))}
    elif is_dicom(_head(path)):
        yield {Path(path).name: Path(path)}
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield _unpacked(path, Path(folder))


def _unpacked(path: PathLike, folder: Path) -> dict[str, Path]:
    """Unpack the DICOM files of an archive under names that are not the archive's."""
    files: dict[str, Path] = {}
    with zipfile.ZipFile(path) as archive:
        left = _MOST_UNPACKED_BYTES
        for number, entry in enumerate(entry for entry in archive.infolist() if not entry.is_dir()):
            with archive.open(entry) as packed:
                head = packed.read(HEAD_BYTES)
                if not is_dicom(head):
                    continue
                left -= entry.file_size
                if left < 0:
                    raise InputError(f"more than {_MOST_UNPACKED_BYTES // 10**9} GB are packed in it. Unpack it.")
                files[entry.filename] = folder / f"{number}.dcm"
                files[entry.filename].write_bytes(head + packed.read(entry.file_size))
    return files


def _head(path: PathLike) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)
