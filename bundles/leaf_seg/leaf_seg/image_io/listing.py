"""Images by the names of their files: what belongs to a folder, and what cases are called."""

from __future__ import annotations

import os
from pathlib import Path

from leaf_seg.image_io.dicom import are_single, holds_dicom
from leaf_seg.image_io.formats import image_suffix, suffixes
from leaf_seg.image_io.pair_files import without_headers
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.text import printable


def case_name(path: PathLike) -> str:
    """File name without its image suffix: ``a/hippocampus_001.nii.gz`` -> ``hippocampus_001``; a folder's name."""
    return Path(path).name.removesuffix(image_suffix(path))


def image_files(folder: PathLike) -> list[Path]:
    """Images directly in a folder, sorted by name; hidden ones do not count.

    They are the files that are called as images, and the folders and zip archives that hold DICOM files. Nothing else
    is opened: content is looked at when an image is loaded. Of a header and its voxels the voxels are listed.

    Raises:
        InputError: When the folder cannot be read.
    """
    shown = printable(folder)
    try:
        files = sorted(file for file in Path(folder).iterdir() if not file.name.startswith(".") and _is_image(file))
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror}); correct its permissions.") from error
    return without_headers(files)


def _is_image(path: Path) -> bool:
    suffix = image_suffix(path).lower()
    if suffix == ".zip" or (not suffix and kind_of(path) == FOLDER):
        return holds_dicom(path)
    return bool(suffix)


def list_images(path: PathLike | None) -> list[dict[str, str]]:
    """Cases to segment: one image file, or every picture and volume directly in a folder, sorted by name.

    A folder that holds DICOM files is one case, the series of these, unless all are called as DICOM files and each is
    of a series of its own.

    Returns:
        A list of ``{"image": path}``.

    Raises:
        InputError: When the path is empty or does not exist, or holds no image.
    """
    if path is None or not os.fspath(path):
        raise InputError("The name of the images is empty; expected an image file or a folder of images.")
    root, kind, shown = Path(path), kind_of(path), printable(os.path.abspath(path))
    if kind == FILE:
        return [{"image": str(root)}]
    if kind != FOLDER:
        raise InputError(f"{shown} {kind}; expected an image file or a folder of images. Check the path.")
    files = image_files(root)
    if holds_dicom(root) and all(image_suffix(file).lower() == ".dcm" for file in files):
        return [{"image": str(file)} for file in (files if are_single(root) else [Path(os.path.abspath(root))])]
    if not files:
        raise InputError(
            f"No image in {shown}; expected files ending in {', '.join(suffixes())} directly in it. Give the "
            "folder that holds the images themselves."
        )
    return [{"image": str(file)} for file in files]
