"""Label maps between the grids of leaf_seg and the files that MONAI Label and 3D Slicer exchange."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np

from leaf_seg.image_io import Grid, image_suffix, read_grid, read_image, write_image, write_label, write_map
from leaf_seg.image_io.nrrd import is_nrrd, read_nrrd, read_nrrd_shape
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.label_map import PICTURE_AFFINE
from lib.names import IMAGE_SUFFIXES, check_content
from lib.value_names import names_of_values

_TOLERANCE = 1e-3  # mm
EXTENSIONS = (".nii.gz", ".nii", ".nrrd")


def write_result(array: np.ndarray, source: str, extension: str = ".nii.gz", class_names: Sequence[str] = ()) -> str:
    """Write a label map (integers) or a map of real values in the grid of the image that it belongs to.

    Args:
        array: [X, Y, Z] of a volume, [H, W] of a picture.
        source: the image's file.
        extension: one of :data:`EXTENSIONS`.
        class_names: K names, background first, that NIfTI of a volume's label map is to hold; none to leave them out.

    Returns:
        A new temporary file, which the caller removes; there is none where this fails.

    Raises:
        OSError: When it cannot be written.
    """
    handle, name = tempfile.mkstemp(suffix=extension)
    os.close(handle)
    try:
        with tempfile.TemporaryDirectory() as folder:
            nifti = _write_nifti(array, source, folder, class_names)
            if image_suffix(nifti) == extension:
                os.replace(nifti, name)
            elif extension == ".nrrd":
                _convert_to_nrrd(nifti, name)
            else:
                nib.save(nib.load(nifti), name)
    except BaseException:
        os.unlink(name)
        raise
    return name


def read_label(file: str, image: str) -> np.ndarray:
    """Read a label map in the grid of its image.

    Args:
        file: label of a volume (NIfTI, NRRD), or of a picture (the same with one slice, or PNG).
        image: the image's file.

    Returns:
        Whole numbers [X, Y, Z] or [H, W].

    Raises:
        InputError: When it cannot be read, lies in another grid, or holds other values.
    """
    grid = read_grid(image)
    shape, expected = _slicer_grid(grid)
    claimed = _claimed_shape(file)
    if claimed != shape:
        raise InputError(
            f"The label {file} has the size {claimed}, its image {image} {shape}; expected the same. Save the label in "
            "the image's geometry."
        )
    label, affine = _read(file)
    if label.shape != shape:
        raise InputError(f"The label {file} says that its size is {claimed} and is {label.shape}; save it again.")
    if affine is not None and not np.abs(affine - expected).max() <= _TOLERANCE:
        raise InputError(
            f"The label {file} lies elsewhere than its image {image}: their affines differ by up to "
            f"{np.abs(affine - expected).max():.3g}. Save the label in the image's geometry."
        )
    if not np.isfinite(label).all() or (label != np.rint(label)).any() or label.min() < 0:
        raise InputError(f"The label {file} has values that are no whole numbers from 0; save it as a label map.")
    return label if grid.is_volume else label[..., 0].T


def class_indices(label: np.ndarray, label_info: Any, class_names: Sequence[str]) -> np.ndarray:
    """Renumber a label map by the names of its structures.

    Args:
        label: whole numbers [*spatial].
        label_info: {"name", "idx"} of each structure; None or [] where nobody said: the values are the classes.
        class_names: K names, background first.

    Returns:
        Class indices, uint8 [*spatial].

    Raises:
        InputError: For a value without a name, a name that is no class, and where it is not clear which is meant.
    """
    values = [int(value) for value in np.unique(label) if value]
    is_said = label_info is not None and label_info != []
    names = names_of_values(values, label_info, class_names) if is_said else dict(enumerate(class_names))
    result = np.zeros(label.shape, np.uint8)
    for value in values:
        if names.get(value) not in class_names:
            raise InputError(
                f"The label holds the value {value} ({names.get(value, 'without a name')}); expected "
                f"{', '.join(class_names[1:])}. Rename or remove the segment."
            )
        result[label == value] = list(class_names).index(names[value])
    return result


def _write_nifti(array: np.ndarray, source: str, folder: str, class_names: Sequence[str]) -> Path:
    """Write as NIfTI; a picture as a volume of one slice."""
    is_label = np.issubdtype(array.dtype, np.integer)
    if read_grid(source).is_volume:
        if is_label:
            return write_label(array, source, folder, class_names)
        return write_map(array, source, folder, "map")
    file = Path(folder) / "picture.nii.gz"
    write_image(array.astype(np.uint8 if is_label else np.float32).T[..., None], file, PICTURE_AFFINE)
    return file


def _convert_to_nrrd(nifti: Path, name: str) -> None:
    """Axes need not be at right angles, which ITK's own reader of NIfTI would ask for."""
    volume: Any = nib.load(nifti)
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine  # RAS+ to LPS+
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(np.asarray(volume.dataobj).T))
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(itk.matrix_from_array(affine[:3, :3] / spacing))
    try:
        itk.imwrite(image, name, compression=True)
    except RuntimeError as error:  # which says nothing of a full disk
        raise OSError(errno.EIO, "the NRRD writer failed; the disk may be full", name) from error


def _claimed_shape(file: str) -> tuple[int, ...]:
    """Shape by the header alone, which may claim more than there is memory for; of a picture as a volume."""
    if image_suffix(file).lower() not in IMAGE_SUFFIXES:
        return read_nrrd_shape(file)
    check_content(file)
    return _slicer_grid(read_grid(file))[0]


def _read(file: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values, and the affine of what is no picture."""
    if is_nrrd(file):
        return read_nrrd(file)
    values, grid = read_image(file, is_label=True)[0].numpy(), read_grid(file)
    return (values, grid.affine) if grid.is_volume else (values.T[..., None], None)


def _slicer_grid(grid: Grid) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine that the label of an image has; of a picture as a volume of one slice."""
    if grid.affine is not None:
        return grid.shape, grid.affine
    height, width = grid.shape
    return (width, height, 1), PICTURE_AFFINE
