"""Labels of several raters in folders beside the labels: ``labels_r1``, ``labels_r2``."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from leaf_seg.data.layouts.names import composed, is_rater
from leaf_seg.data.layouts.pairs import files_below, subfolders
from leaf_seg.data.splits import Case
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.text import printable

logger = logging.getLogger(__name__)


def rater_folders(root: Path) -> list[Path]:
    """The raters' folders, by their numbers."""
    return sorted(filter(is_rater, subfolders(root)), key=lambda folder: int(re.findall(r"\d+", folder.name)[-1]))


def with_raters(root: Path, cases: Sequence[Case]) -> list[Case]:
    """The cases with the paths of their raters' labels under "raters", where there are such.

    Not every rater has to have labelled every image.
    """
    folders = rater_folders(root)
    labels = [{composed(case_name(file)): str(file) for file in files_below(folder)} for folder in folders]
    named = []
    for case in cases:
        name = composed(case_name(case["label"]))
        raters = [files[name] for files in labels if name in files]
        named.append({**case, "raters": raters} if raters else case)
    if folders:
        logger.info("%s: labels of %d raters (%s, ...).", printable(root), len(folders), printable(folders[0].name))
    return named
