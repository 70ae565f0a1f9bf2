"""Writes the pairs of a download as ``images/``, ``labels/`` and ``dataset.json``."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from leaf_seg.data.prepare.source import FoundCase, FoundData
from leaf_seg.data.splits import Case
from leaf_seg.image_io.formats import image_suffix
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line, printable

logger = logging.getLogger(__name__)

_KEPT = (".png", ".jpg", ".jpeg", ".nii", ".nii.gz")  # others are written as PNG, without loss

ClassesOf = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def write_cases(data: FoundData, classes_of: ClassesOf | None, folder: Path) -> list[Case]:
    """Copy images and convert labels.

    Args:
        data: whose cases are written, and whose classes ``dataset.json`` names.
        classes_of: gray values of a label picture to class numbers; None copies labels.
        folder: to write to.

    Returns:
        The cases, with their new paths.

    Raises:
        InputError: When a file cannot be read, or an image and its label differ in size.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    cases = []
    for found in tqdm(data.cases, desc="Preparing", unit="case", leave=False):
        try:
            image = _write_image(found, folder / "images", data.modality)
            label = _write_label(found, folder / "labels", classes_of)
        except (OSError, ValueError, EOFError, SyntaxError, nibabel.filebasedimages.ImageFileError) as error:
            raise InputError(
                f"{printable(found.image)} or its label {printable(found.label)}: cannot be read ({one_line(error)}). "
                "Download it again."
            ) from error
        cases.append({"image": str(image), "label": str(label)})
    listed = [
        {key: Path(path).relative_to(folder).as_posix() for key, path in case.items()}
        | ({} if found.group is None else {"group": found.group})
        for case, found in zip(cases, data.cases, strict=True)
    ]
    labels = {name: number for number, name in enumerate(data.class_names)}
    content = {"labels": labels, "numTraining": len(listed), "training": listed}
    (folder / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return cases


def _write_image(found: FoundCase, folder: Path, modality: int | None) -> Path:
    suffix = image_suffix(found.image).lower()
    target = folder / f"{found.name}{suffix if suffix in _KEPT else '.png'}"
    if modality is not None:
        volume = nibabel.Nifti1Image.from_filename(found.image)
        channel = np.asanyarray(volume.dataobj)[..., modality]  # [X, Y, Z] of [X, Y, Z, C]
        nibabel.save(nibabel.Nifti1Image(channel, volume.affine), target)
    elif suffix in _KEPT:
        shutil.copyfile(found.image, target)
    else:
        with Image.open(found.image) as picture:
            picture.save(target)
    return target


def _write_label(found: FoundCase, folder: Path, classes_of: ClassesOf | None) -> Path:
    if classes_of is None:
        target = folder / f"{found.name}{image_suffix(found.label).lower()}"
        shutil.copyfile(found.label, target)
        return target
    with Image.open(found.image) as image, Image.open(found.label) as label:
        if image.size != label.size:
            raise InputError(
                f"{printable(found.image)} has {image.size[0]} x {image.size[1]} pixels, its label "
                f"{label.size[0]} x {label.size[1]}; expected the same. Download them again."
            )
        gray = np.array(label.convert("L"), dtype=np.uint8)  # [H, W]
    target = folder / f"{found.name}.png"
    Image.fromarray(classes_of(gray)).save(target)
    return target
