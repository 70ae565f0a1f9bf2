"""Makes a folder to train on out of an official download."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from leaf_seg.data.prepare.cvc_clinicdb import CVC_CLINICDB
from leaf_seg.data.prepare.decathlon import DECATHLON
from leaf_seg.data.prepare.download import unpacked
from leaf_seg.data.prepare.isic2018 import ISIC2018
from leaf_seg.data.prepare.qata_cov19 import QATA_COV19
from leaf_seg.data.prepare.refuge2 import REFUGE2
from leaf_seg.data.prepare.source import FoundData, Source
from leaf_seg.data.prepare.splitting import write_splits
from leaf_seg.data.prepare.writing import write_cases
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.paths import FOLDER, absolute, kind_of
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from leaf_seg.runtime.text import nearest, printable

logger = logging.getLogger(__name__)

SOURCES: dict[str, Source] = {
    "refuge2": REFUGE2,
    "cvc_clinicdb": CVC_CLINICDB,
    "qata_cov19": QATA_COV19,
    "isic2018": ISIC2018,
    "decathlon": DECATHLON,
}
_PREFIX = ".preparing_"


def prepare(name: str, download: str, folder: str, partial: bool = False, modality: str | None = None) -> Path:
    """Write ``images/``, ``labels/``, ``dataset.json`` and the published split of a public data set.

    Where the published split has a patient or sequence in several parts, ``split_by_group.json`` beside it has not.

    Args:
        name: of the data set, one of :data:`SOURCES`.
        download: folder or archive as it was downloaded.
        folder: to write, whole or not at all; must not exist, or be empty.
        partial: take a download that has not as many cases as were published.
        modality: name of the channel that is taken, of the Decathlon's tasks that have several.

    Returns:
        The folder.

    Raises:
        InputError: When the name is unknown, the download has no pairs or other numbers of them, files are unfit, or
            the folder is not empty or cannot be written.
    """
    if name not in SOURCES:
        raise InputError(f"No data set {name!r}; expected one of {', '.join(SOURCES)}{nearest(name, SOURCES)}")
    source, target = SOURCES[name], absolute(folder)
    if modality is not None and source is not DECATHLON:
        raise InputError(f"modality is {modality!r}, but {source.title} has one; leave it out.")
    if os.path.lexists(target) and (kind_of(target) != FOLDER or any(target.iterdir())):
        raise InputError(
            f"{printable(target)}: is there already; expected a folder that is new or empty. Name another."
        )
    parent = ensure_writable_folder(target.parent)
    remove_abandoned(parent, _PREFIX)
    with scratch_folder(parent, _PREFIX) as scratch:
        (scratch / "unpacked").mkdir()
        root = unpacked(download, scratch / "unpacked")
        data = source.find(root, modality)
        if not data.cases:
            raise InputError(f"{printable(download)}: no pairs of {source.title} there; expected {source.looks}.")
        _check_counts(source, data, partial)
        built = scratch / "data"
        cases = write_cases(data, source.classes_of, built)
        write_splits(source, data, cases, built)
        os.replace(built, target) if not target.exists() else _move_into(built, target)
    logger.info("Wrote %d cases of %s to %s.", len(data.cases), source.title, printable(target))
    return target


def _move_into(built: Path, target: Path) -> None:
    for entry in built.iterdir():
        os.replace(entry, target / entry.name)


def _check_counts(source: Source, data: FoundData, partial: bool) -> None:
    """Refuse a download that has not as many cases as were published, unless a part will do."""
    by_split = Counter(case.split for case in data.cases)
    found: Mapping[str, int] = {
        split: len(data.cases) if split == "in all" else by_split[split] for split in data.counts
    }
    if found == dict(data.counts):
        return
    words = [", ".join(f"{count} {split}" for split, count in counts.items()) for counts in (found, data.counts)]
    if not partial:
        raise InputError(
            f"The download of {source.title} has {words[0]} cases; published are {words[1]}. Fetch the rest, or pass "
            "--partial to take what is there."
        )
    logger.warning("A part of %s: %s cases of %s.", source.title, *words)
