"""QaTa-COV19-v2: 9 258 chest radiographs with the regions that COVID-19 infected."""

from __future__ import annotations

import re
from pathlib import Path

from leaf_seg.data.layouts.names import SPLIT_WORDS, folder_word
from leaf_seg.data.prepare.source import FoundCase, FoundData, Source, above_half, by_stem, images_below, paired

_SUBJECT = re.compile(r"sub-S?(\d+)", re.IGNORECASE)


def _find(root: Path, modality: str | None) -> FoundData:
    files = images_below(root)
    cases = []
    for part in sorted({file.parent.parent for file in files if folder_word(file.parent) == "ground_truths"}):
        split = SPLIT_WORDS.get(folder_word(part))
        inner = [file for file in files if file.parent.parent == part]
        labels = by_stem([f for f in inner if folder_word(f.parent) == "ground_truths"], _without_mark)
        images = by_stem([f for f in inner if folder_word(f.parent) == "images"])
        for name in paired(images, labels, part):
            subject = _SUBJECT.search(name)
            group = subject[0] if subject else None
            cases.append(FoundCase(name, images[name], labels[name], split, group))
    return FoundData(cases, ("background", "infection"), {"training": 7145, "testing": 2113})


def _without_mark(stem: str) -> str:
    return stem.removeprefix("mask_")


QATA_COV19 = Source(
    "QaTa-COV19-v2",
    _find,
    "Train Set/ and Test Set/, each with Images/NAME.png and Ground-truths/mask_NAME.png",
    above_half,
    validation_share=0.2,
)
