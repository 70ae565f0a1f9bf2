"""Label maps and probability maps as files, in the geometry of the file that they belong to."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaf_seg.image_io.formats import format_of, format_to_create
from leaf_seg.image_io.listing import case_name
from leaf_seg.image_io.reading import read_grid
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, ensure_writable_folder, replacing
from leaf_seg.runtime.paths import absolute
from leaf_seg.runtime.text import printable

_MOST_LETTERS = 40  # of a class's name in a file's, which may have 255 bytes and begins with the case's


def write_image(array: np.ndarray, path: PathLike, affine: np.ndarray | None = None) -> None:
    """Write a new image in the format that the file's suffix says.

    Args:
        array: picture [H, W] or [H, W, 3], or volume [X, Y, Z], in the dtype to be stored.
        path: file to write.
        affine: voxel-to-world matrix of a volume, 4 x 4 in mm, RAS+ as nibabel gives it; None for a picture.

    Raises:
        ValueError: When the suffix is that of no format.
        InputError: When the file cannot be written.
    """
    form = format_to_create(path)
    with replacing(path) as temporary:
        form.create(array, temporary, affine)


def write_label(
    label: np.ndarray,
    source: PathLike,
    folder: PathLike,
    class_names: Sequence[str] = (),
    options: ReadingOptions = DEFAULT_READING,
) -> Path:
    """Write a label map under the name of its source.

    A volume becomes a NIfTI file with the source's affine, qform and sform codes, units and voxel sizes, ``.nii`` or
    ``.nii.gz`` as the source. A picture becomes a PNG whose grey values are the class indices, whatever
    format the source has: JPEG compression would alter the labels. A stack of pages becomes one of TIFF.

    NIfTI holds the names of the classes in a comment of its header, NRRD in the fields of 3D Slicer's segments.

    Args:
        label: class indices 0 to 255, [*spatial] in the grid of the source file.
        source: image file that was segmented.
        folder: output folder; made where needed.
        class_names: K names, background first; none to leave them out.
        options: how the source was read.

    Returns:
        The file written.

    Raises:
        ValueError: When the shape is not the source's, or a class index does not fit.
        InputError: When the source cannot be read, or the file cannot be written or is the source itself.
    """
    if label.min() < 0 or label.max() > 255:
        raise ValueError(f"class indices {label.min()} to {label.max()} do not fit in 8 bits.")
    form = format_of(source, options)
    path = _output_path(label.shape, source, folder, form.result_suffix(source), options)
    with replacing(path) as temporary:
        form.write_label(label.astype(np.uint8), source, temporary, class_names)
    return path


def write_map(
    array: np.ndarray,
    source: PathLike,
    folder: PathLike,
    suffix: str,
    maximum: float = 1.0,
    options: ReadingOptions = DEFAULT_READING,
) -> Path:
    """Write a map of real values, such as an uncertainty, as ``<case>_<suffix>``.

    Args:
        array: values [*spatial] in the grid of the source file; for a volume also [X, Y, Z, K]. Volumes are written as
            float32 in the source's format. Pictures are written as 16-bit PNG, in which 0 to ``maximum`` becomes 0 to
            65535; so values must lie in that range.
        source: image file that the map belongs to.
        folder: output folder; made where needed.
        suffix: what the map shows.
        maximum: largest possible value of the map.
        options: how the source was read.

    Returns:
        The file written.

    Raises:
        ValueError: When the shape is not the source's.
        InputError: When the source cannot be read, or the file cannot be written or is the source itself.
    """
    form = format_of(source, options)
    path = _output_path(array.shape, source, folder, f"_{_file_safe(suffix)}{form.result_suffix(source)}", options)
    with replacing(path) as temporary:
        form.write_map(array, source, temporary, maximum)
    return path


def write_probabilities(
    probabilities: np.ndarray,
    source: PathLike,
    folder: PathLike,
    class_names: Sequence[str],
    options: ReadingOptions = DEFAULT_READING,
) -> list[Path]:
    """Write class probabilities: for a volume one file [X, Y, Z, K], for a picture one 16-bit PNG for each class.

    Args:
        probabilities: [K, *spatial] in [0, 1], in the grid of the source file.
        source: image file that was segmented.
        folder: output folder; made where needed.
        class_names: K names, background first.
        options: how the source was read.

    Returns:
        The files written.

    Raises:
        ValueError: When the shape is not the source's, or there is not one name for each class.
        InputError: When the source cannot be read, or a file cannot be written or is the source itself.
    """
    if len(class_names) != len(probabilities):
        raise ValueError(f"{len(probabilities)} probability maps but {len(class_names)} class names.")
    if read_grid(source, options).is_volume:
        by_voxel = np.moveaxis(probabilities, 0, -1)
        return [write_map(by_voxel, source, folder, "probabilities", options=options)]
    names = class_file_names(class_names)
    return [write_map(p, source, folder, name) for p, name in zip(probabilities, names, strict=True)]


def class_file_names(class_names: Sequence[str]) -> list[str]:
    """A name for files of each class: its own without what file systems do not take or shells trip over.

    Where nothing is left it is ``class_NUMBER``. Where that makes two alike, also by capitals, which some file systems
    do not tell apart, their numbers are added: ``a b`` and ``a/b`` as the classes 1 and 2 are ``a_b_1`` and ``a_b_2``.
    """
    names = [_file_safe(name)[:_MOST_LETTERS] for name in class_names]
    names = [name if re.search(r"\w", name.replace("_", "")) else f"class_{i}" for i, name in enumerate(names)]
    while len(set(map(_folded, names))) < len(names):
        counts = Counter(map(_folded, names))
        names = [f"{name}_{i}" if counts[_folded(name)] > 1 else name for i, name in enumerate(names)]
    return names


def _output_path(
    shape: Sequence[int], source: PathLike, folder: PathLike, ending: str, options: ReadingOptions
) -> Path:
    """The file to write for a source, never the source itself; its array must be in the source's grid."""
    expected = read_grid(source, options).shape
    if tuple(shape[: len(expected)]) != expected:
        raise ValueError(f"an array of shape {tuple(shape)} does not belong to {source} of shape {expected}.")
    path = ensure_writable_folder(folder) / f"{case_name(source)}{ending}"
    if absolute(path) == absolute(source):
        raise InputError(
            f"The output file {printable(path)} is the input image itself; expected an output folder other than "
            "the folder of the images: choose another with --output_dir."
        )
    return path


def _file_safe(name: str) -> str:
    """The name without what file systems do not take or shells trip over."""
    return re.sub(r"[^\w.-]+|\.\.+", "_", unicodedata.normalize("NFC", name))


def _folded(name: str) -> str:
    """What is the same for names that a file system may take for the same."""
    return unicodedata.normalize("NFKC", name.casefold())
