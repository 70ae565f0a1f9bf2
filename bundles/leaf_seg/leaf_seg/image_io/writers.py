"""Label maps and probability maps as files, in the geometry of the file that they belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from leaf_seg.image_io.files import case_name, is_picture
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, ensure_writable_folder, replacing


def write_label(label: np.ndarray, source: PathLike, folder: PathLike) -> Path:
    """Write a label map under the name of its source.

    A volume becomes a NIfTI file with the source's affine, qform and sform codes, units and voxel sizes, ``.nii`` or
    ``.nii.gz`` as the source. A picture becomes a PNG whose grey values are the class indices, whatever
    format the source has: JPEG compression would alter the labels.

    Args:
        label: class indices 0 to 255, [*spatial] in the grid of the source file.
        source: image file that was segmented.
        folder: output folder; made where needed.

    Returns:
        The file written.

    Raises:
        ValueError: When the shape is not the source's, or a class index does not fit.
        InputError: When the file cannot be written, or is the source itself.
    """
    if label.min() < 0 or label.max() > 255:
        raise ValueError(f"class indices {label.min()} to {label.max()} do not fit in 8 bits.")
    if is_picture(source):
        return _write_picture(label.astype(np.uint8), source, folder, "")
    return _write_volume(label.astype(np.uint8), source, folder, "")


def write_map(array: np.ndarray, source: PathLike, folder: PathLike, suffix: str, maximum: float = 1.0) -> Path:
    """Write a map of real values, such as an uncertainty, as ``<case>_<suffix>``.

    Args:
        array: values [*spatial] in the grid of the source file. Volumes are written as float32 NIfTI. Pictures are
            written as 16-bit PNG, in which 0 to ``maximum`` becomes 0 to 65535; so values must lie in that range.
        source: image file that the map belongs to.
        folder: output folder; made where needed.
        suffix: what the map shows.
        maximum: largest possible value of the map.

    Returns:
        The file written.

    Raises:
        ValueError: When the shape is not the source's.
        InputError: When the file cannot be written, or is the source itself.
    """
    if is_picture(source):
        levels = np.rint(np.clip(array / maximum, 0, 1) * 65535).astype(np.uint16)
        return _write_picture(levels, source, folder, f"_{_file_safe(suffix)}")
    return _write_volume(array.astype(np.float32), source, folder, f"_{_file_safe(suffix)}")


def write_probabilities(
    probabilities: np.ndarray, source: PathLike, folder: PathLike, class_names: Sequence[str]
) -> list[Path]:
    """Write class probabilities: for a volume one NIfTI [X, Y, Z, K], for a picture one 16-bit PNG for each class.

    Args:
        probabilities: [K, *spatial] in [0, 1], in the grid of the source file.
        source: image file that was segmented.
        folder: output folder; made where needed.
        class_names: K names, background first.

    Returns:
        The files written.

    Raises:
        ValueError: When the shape is not the source's, or there is not one name for each class.
        InputError: When a file cannot be written, or is the source itself.
    """
    if len(class_names) != len(probabilities):
        raise ValueError(f"{len(probabilities)} probability maps but {len(class_names)} class names.")
    if is_picture(source):
        return [write_map(p, source, folder, name) for p, name in zip(probabilities, class_names, strict=True)]
    return [_write_volume(np.moveaxis(probabilities, 0, -1).astype(np.float32), source, folder, "_probabilities")]


def _write_picture(array: np.ndarray, source: PathLike, folder: PathLike, suffix: str) -> Path:
    """Write uint8 or uint16 [H, W] as a grey PNG."""
    with Image.open(source) as image:
        _check_shape(array, (image.height, image.width), source)
    path = _output_path(source, folder, f"{suffix}.png")
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary)
    return path


def _write_volume(array: np.ndarray, source: PathLike, folder: PathLike, suffix: str) -> Path:
    """Write [X, Y, Z] or [X, Y, Z, K] as NIfTI with the source's geometry."""
    image: Any = nib.load(source)  # NIfTI-1 or NIfTI-2
    _check_shape(array, image.shape, source)
    header = image.header.copy()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_zooms((*image.header.get_zooms(), 1.0)[: array.ndim])
    header["cal_min"] = header["cal_max"] = 0  # the source's display window, of no use here
    extension = ".nii.gz" if str(source).lower().endswith(".gz") else ".nii"
    path = _output_path(source, folder, suffix + extension)
    with replacing(path) as temporary:
        nib.save(type(image)(array, image.affine, header), temporary)
    return path


def _check_shape(array: np.ndarray, shape: Sequence[int], source: PathLike) -> None:
    """Refuse an array that cannot be in the grid of the source."""
    if array.shape[: len(shape)] != tuple(shape):
        raise ValueError(f"an array of shape {array.shape} does not belong to {source} of shape {tuple(shape)}.")


def _output_path(source: PathLike, folder: PathLike, ending: str) -> Path:
    """The file to write for a source; never the source itself."""
    path = ensure_writable_folder(folder) / f"{case_name(source)}{ending}"
    if path.resolve() == Path(source).resolve():
        raise InputError(
            f"The output file {path} is the input image itself; expected an output folder other than the folder of the "
            "images: choose another with --output_dir."
        )
    return path


def _file_safe(name: str) -> str:
    """The name without what file systems do not take or shells trip over."""
    return re.sub(r"[^\w.-]+", "_", name)
