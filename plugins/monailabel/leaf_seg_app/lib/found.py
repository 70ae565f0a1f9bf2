"""The files of images and labels, beside what is known of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel

from lib.names import IMAGE_SUFFIXES, LABEL_SUFFIXES, split_suffix
from lib.studies import files_by_name


def found_objects(
    studies: Path, tag_folders: Sequence[Path], known: Mapping[str, ImageLabelModel]
) -> dict[str, ImageLabelModel]:
    """Images and labels that there are files of.

    Args:
        studies: folder of the images.
        tag_folders: of the labels, one for each tag.
        known: what is kept of each image and label; it stays with those that have the same format as before.
    """
    objects: dict[str, ImageLabelModel] = {}
    for name, suffix in files_by_name(studies, IMAGE_SUFFIXES):
        former = known.get(name)
        is_known = former is not None and former.image.ext == suffix
        if is_known or name not in objects:  # of two files of one name, which can come by hand, the known one
            objects[name] = ImageLabelModel(image=former.image if former and is_known else _new(name, suffix))
    for folder in tag_folders:
        for name, suffix in files_by_name(folder, LABEL_SUFFIXES):
            if name in objects:
                label = known[name].labels.get(folder.name) if name in known else None
                if label and label.ext == suffix:
                    objects[name].labels[folder.name] = label
                else:
                    objects[name].labels.setdefault(folder.name, _new(name, suffix))
    return objects


def image_label_pairs(objects: Mapping[str, ImageLabelModel], studies: Path, tag: str) -> list[dict[str, Any]]:
    """Files of each image that has a label of the tag, and of that label, {"image", "label"}."""
    return [
        {
            "image": str(studies / f"{name}{known.image.ext}"),
            "label": str(studies / "labels" / tag / f"{name}{known.labels[tag].ext}"),
        }
        for name, known in objects.items()
        if tag in known.labels
    ]


def delete_label(folder: Path, image: str, but: str = "") -> None:
    """Delete a label in whatever formats it is there; by hand may come suffixes in capital letters, too.

    Args:
        folder: of the labels of a tag.
        image: name of the image.
        but: name of the file that stays.
    """
    for file in sorted(folder.glob("*")):
        name, suffix = split_suffix(file.name, LABEL_SUFFIXES)
        if name == image and suffix and file.name != but and not file.is_dir():
            file.unlink()


def _new(name: str, suffix: str) -> DataModel:
    return DataModel(info={"ts": int(time.time()), "name": f"{name}{suffix}"}, ext=suffix)
