"""ISIC 2018, task 1: 3 694 dermoscopic images with the lesion."""

from __future__ import annotations

import re
from pathlib import Path

from leaf_seg.data.prepare.source import FoundCase, FoundData, Source, above_half, by_stem, images_below, paired

_SPLITS = {"Training": "training", "Validation": "validation", "Test": "testing"}
_COUNTS = {"training": 2594, "validation": 100, "testing": 1000}


def _find(root: Path, modality: str | None) -> FoundData:
    files = images_below(root)
    cases = []
    for word, split in _SPLITS.items():
        of_labels = re.compile(rf"ISIC2018_Task1_{word}_GroundTruth", re.IGNORECASE)
        of_images = re.compile(rf"ISIC2018_Task1-2_{word}_Input", re.IGNORECASE)
        labels = by_stem([file for file in files if of_labels.fullmatch(file.parent.name)], _without_mark)
        images = by_stem([file for file in files if of_images.fullmatch(file.parent.name)])
        names = paired(images, labels, root)
        cases += [FoundCase(name, images[name], labels[name], split) for name in names]
    return FoundData(cases, ("background", "lesion"), _COUNTS)


def _without_mark(stem: str) -> str:
    return stem.removesuffix("_segmentation")


ISIC2018 = Source(
    "ISIC 2018, task 1",
    _find,
    "ISIC2018_Task1-2_Training_Input/ISIC_NUMBER.jpg and ISIC2018_Task1_Training_GroundTruth/"
    "ISIC_NUMBER_segmentation.png, and Validation and Test likewise",
    above_half,
)
