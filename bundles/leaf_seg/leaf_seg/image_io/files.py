"""What kind of file a path is."""

from __future__ import annotations

import os
from pathlib import Path

from leaf_seg.runtime.errors import InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VOLUME_SUFFIXES = (".nii.gz", ".nii")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether the file name is that of a 2D picture."""
    return str(path).lower().endswith(PICTURE_SUFFIXES)


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether the file name is that of a NIfTI volume."""
    return str(path).lower().endswith(VOLUME_SUFFIXES)


def case_name(path: str | os.PathLike[str]) -> str:
    """File name without its image suffix: ``a/hippocampus_001.nii.gz`` -> ``hippocampus_001``."""
    name = Path(path).name
    for suffix in (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def list_images(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Cases to segment: one image file, or every picture and volume directly in a folder, sorted by name.

    Returns:
        A list of ``{"image": path}``.

    Raises:
        InputError: When the path does not exist, or holds no image.
    """
    root = Path(path)
    if root.is_file():
        return [{"image": str(root)}]
    if not root.is_dir():
        raise InputError(
            f"{root.resolve()} does not exist; expected an image file or a folder of images. Check the path."
        )
    files = sorted(
        file for file in root.iterdir() if not file.name.startswith(".") and (is_picture(file) or is_volume(file))
    )
    if not files:
        raise InputError(
            f"No image in {root.resolve()}; expected files ending in {', '.join(PICTURE_SUFFIXES + VOLUME_SUFFIXES)} "
            "directly in it. Give the folder that holds the images themselves."
        )
    return [{"image": str(file)} for file in files]
