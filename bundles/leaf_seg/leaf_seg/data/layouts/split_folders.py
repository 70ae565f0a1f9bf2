"""A folder for each split: ``train/``, ``val/`` and ``test/``, each with images and labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from leaf_seg.data.layouts.folders import read_folders
from leaf_seg.data.layouts.layout import Choices, Layout, in_splits
from leaf_seg.data.layouts.marked import read_marked
from leaf_seg.data.layouts.names import SPLIT_WORDS, folder_word
from leaf_seg.data.layouts.pairs import subfolders
from leaf_seg.data.layouts.patients import read_patients
from leaf_seg.data.splits import SPLITS
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable

logger = logging.getLogger(__name__)


def read_unlisted(root: Path, choices: Choices) -> Layout | None:
    """The cases of a folder that has no list, by the names of its folders and files; None where none is known.

    Raises:
        InputError: When it may be read in several ways, or its images and labels do not match.
    """
    plain = read_folders(root)
    if plain is not None and any(plain.splits.values()) and {"images", "labels"} <= {f.name for f in subfolders(root)}:
        return plain  # whatever else lies there
    layouts = (plain, _read_split_folders(root, choices), read_marked(root), read_patients(root, choices))
    found = [layout for layout in layouts if layout is not None and any(layout.splits.values())]
    if len(found) > 1:
        names = "; ".join(f"{layout.name}, {sum(map(len, layout.splits.values()))} cases" for layout in found)
        raise InputError(
            f"{printable(root)}: can be read in {len(found)} ways ({names}); expected one. Move what is not meant, or "
            "list the files in a datalist .json or .csv."
        )
    return found[0] if found else None


def _read_split_folders(root: Path, choices: Choices) -> Layout | None:
    """The cases of the folders of splits; a split without labels is left out."""
    folders: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for folder in subfolders(root):
        if folder_word(folder) in SPLIT_WORDS:
            folders[SPLIT_WORDS[folder_word(folder)]].append(folder)
    parts: dict[str, Layout] = {}
    for split, candidates in folders.items():
        if len(candidates) > 1:
            names = ", ".join(f"{printable(folder.name)}/" for folder in candidates)
            raise InputError(f"{printable(root)}: has several folders of {split} cases ({names}); expected one.")
        part = read_unlisted(candidates[0], choices) if candidates else None
        if part is not None:
            parts[split] = part
        elif candidates:
            logger.info("%s: no pairs of image and label, and so left out.", printable(candidates[0]))
    if "training" not in parts:
        return None
    cases = {split: part.splits["training"] for split, part in parts.items()}
    inner = parts["training"]
    return replace(
        inner,
        name=f"{', '.join(f'{folders[split][0].name}/' for split in parts)}, each with {inner.name}",
        root=root,
        splits=in_splits(**cases),
        is_split="validation" in parts,
        groups={image: group for part in parts.values() for image, group in part.groups.items()},
    )
