"""Labels that former versions have left in two formats: which of them is meant, and where the others go."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from monailabel.datastore.local import ImageLabelModel

from lib.names import LABEL_SUFFIXES
from lib.studies import files_by_name

logger = logging.getLogger(__name__)

_FOLDER = "labels_left_over"


def move_left_over_labels(studies: Path, objects: Mapping[str, ImageLabelModel]) -> None:
    """Keep one file of each label, and move the others to ``labels_left_over``.

    A label that was submitted once as .nii.gz and once as .nrrd used to stay in both, so that the one came back when
    the other was deleted. The file that the datastore names is kept; where it names none, the latest.

    Args:
        studies: folder of the images, with ``labels/<tag>/``.
        objects: what the datastore knows of each image.
    """
    for folder in sorted(path for path in studies.glob("labels/*") if path.is_dir()):
        several: dict[str, list[Path]] = defaultdict(list)
        for image, suffix in files_by_name(folder, LABEL_SUFFIXES):
            several[image].append(folder / f"{image}{suffix}")
        for image, files in several.items():
            label = objects[image].labels.get(folder.name) if image in objects else None
            named = [file for file in files if label and file.name == f"{image}{label.ext}"]
            kept = named[0] if named else max(files, key=lambda file: file.stat().st_mtime)
            for file in files:
                if file != kept:
                    target = studies / _FOLDER / folder.name / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, target)
                    logger.warning("%s has two labels in %s: kept %s, moved %s", image, folder, kept.name, target)
