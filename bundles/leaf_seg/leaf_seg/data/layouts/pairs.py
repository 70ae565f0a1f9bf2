"""Pairs of images and labels by their names."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from leaf_seg.data.layouts.names import composed, image_key, label_key
from leaf_seg.data.splits import Case
from leaf_seg.image_io.formats import image_suffix
from leaf_seg.image_io.listing import case_name, image_files
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)

_BESIDE = (".json", ".csv", ".tsv", ".txt", ".md", ".xml", ".yaml", ".yml", ".pdf", ".db", ".ini", ".log", ".html", "")


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; hidden ones do not count, nor links to what the folder lies in."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    hidden = (".", "__")  # __MACOSX, __pycache__
    folders = [entry for entry in entries if not entry.name.startswith(hidden) and kind_of(entry) == FOLDER]
    above = {Path(os.path.realpath(folder)), *Path(os.path.realpath(folder)).parents}
    return [entry for entry in folders if not entry.is_symlink() or Path(os.path.realpath(entry)) not in above]


def files_below(folder: Path) -> list[Path]:
    """Images in a folder and in its subfolders, sorted; tells which other files are left out."""
    here = image_files(folder)  # a folder of a DICOM series is one
    files = [*here, *(file for inner in subfolders(folder) if inner not in here for file in files_below(inner))]
    other = Counter(file.suffix for file in folder.iterdir() if _is_left_out(file))
    if other:
        kinds = shortened([f"{count} {suffix}" for suffix, count in other.most_common()])
        logger.warning("%s: files that are no images of a known format are left out: %s.", printable(folder), kinds)
    return files


def _is_left_out(file: Path) -> bool:
    is_beside = file.name.startswith(".") or file.suffix.lower() in _BESIDE
    return not is_beside and not image_suffix(file) and kind_of(file) == FILE


def pair_folders(images: Path, labels: Path) -> list[Case]:
    """Cases of a folder of images and a folder of labels, by name; both may have the same subfolders.

    Raises:
        InputError: When two files are the same case, or images lack labels or labels images.
    """
    return pair_files(files_below(images), files_below(labels), images, labels)


def pair_files(images: Sequence[Path], labels: Sequence[Path], image_root: Path, label_root: Path) -> list[Case]:
    """Cases of images and labels by their names below their folders, with or without ``_mask`` and the like.

    Raises:
        InputError: As for :func:`pair_folders`; nothing where there are no images or no labels at all.
    """
    if not images or not labels:
        return []
    image_names, label_names = _by_name(images, image_root), _by_name(labels, label_root)
    if set(image_names) != set(label_names):
        unmarked = _by_name(images, image_root, image_key, quiet=True), _by_name(labels, label_root, label_key, True)
        if _alone(*unmarked) < _alone(image_names, label_names):
            image_names, label_names = unmarked
    check_matches(image_names, label_names, image_root, label_root)
    return [{"image": str(file), "label": str(label_names[name])} for name, file in image_names.items()]


def _by_name(
    files: Sequence[Path], root: Path, key: Callable[[str], str] = str, quiet: bool = False
) -> dict[str, Path]:
    """Files by their case name below a folder; empty for two of one name where that is no error."""
    found: dict[str, Path] = {}
    for file in files:
        name = composed((file.parent.relative_to(root) / (key(case_name(file)) or case_name(file))).as_posix())
        if name in found and quiet:
            return {}
        if name in found:
            both = f"{printable(file)} and {printable(found[name].name)}"
            raise InputError(f"{both} are the same case; expected one file. Remove one.")
        found[name] = file
    return found


def _alone(images: dict[str, Path], labels: dict[str, Path]) -> float:
    return len(set(images) ^ set(labels)) if images and labels else float("inf")


def check_matches(
    images: Mapping[str, object], labels: Mapping[str, object], image_root: Path, label_root: Path
) -> None:
    """Raise when images lack labels or labels lack images.

    Raises:
        InputError: Names the first few of each.
    """
    alone = {
        "images without label": sorted(set(images) - set(labels)),
        "labels without image": sorted(set(labels) - set(images)),
    }
    found = "; ".join(f"{len(names)} {what}: {shortened(names)}" for what, names in alone.items() if names)
    if found:
        folders = (printable(image_root.name), printable(label_root.name))
        where = f"one file in {folders[0]}/ and one in {folders[1]}/" if image_root != label_root else "two files"
        raise InputError(
            f"{printable(image_root.parent if image_root != label_root else image_root)}: {found}. Expected {where} "
            "for each case, with the same name up to the suffix, or with _mask, _segmentation, -seg or _gt after the "
            "label's; rename, add or remove files."
        )
