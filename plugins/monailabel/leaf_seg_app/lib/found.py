"""What files say of images and labels, beside what is known of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from monailabel.datastore.local import DataModel, ImageLabelModel

from lib.names import IMAGE_SUFFIXES, LABEL_SUFFIXES
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


def _new(name: str, suffix: str) -> DataModel:
    return DataModel(info={"ts": int(time.time()), "name": f"{name}{suffix}"}, ext=suffix)
