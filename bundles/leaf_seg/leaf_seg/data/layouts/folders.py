"""Folders of images and of labels, which may be split: ``images/`` and ``masks/``, ``imagesTr/``, ``val_masks/``."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

from leaf_seg.data.layouts.layout import Layout, in_splits
from leaf_seg.data.layouts.names import SPLIT_WORDS, folder_kind, folder_word
from leaf_seg.data.layouts.pairs import files_below, pair_folders, subfolders
from leaf_seg.data.layouts.raters import rater_folders, with_raters
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable

logger = logging.getLogger(__name__)


def read_folders(root: Path) -> Layout | None:
    """The cases of a folder that has folders of images and of labels; None where it has none of both.

    Raises:
        InputError: When several folders may be meant, or images and labels do not match.
    """
    pairs = _pairs(root)
    if not pairs:
        return None
    inner = _inner_splits(*pairs[None]) if None in pairs else {}
    by_split = inner or {split or "training": pair for split, pair in pairs.items()}
    cases = {split: with_raters(root, pair_folders(*pair)) for split, pair in by_split.items()}
    name = ", ".join(f"{printable(images.name)}/ + {printable(labels.name)}/" for images, labels in pairs.values())
    is_split = bool(cases.get("validation"))
    return Layout(f"{name}{' in folders of splits' if inner else ''}", root, in_splits(**cases), is_split=is_split)


def _pairs(root: Path) -> dict[str | None, tuple[Path, Path]]:
    """The folders of images and labels by split; that of no split stands alone."""
    found: dict[str | None, dict[str, list[Path]]] = defaultdict(lambda: {"image": [], "label": []})
    for folder in subfolders(root):
        kind = folder_kind(folder)
        if kind is not None:
            found[kind[1]][kind[0]].append(folder)
    plain = [root / "images", root / "labels"]
    if plain[0] in found[None]["image"] and plain[1] in found[None]["label"]:
        others = [f for parts in found.values() for folders in parts.values() for f in folders if f not in plain]
        if others:
            names = ", ".join(f"{printable(folder.name)}/" for folder in others)
            logger.warning("%s: images/ and labels/ are used; %s are not.", printable(root), names)
        return {None: (plain[0], plain[1])}
    _check_one_each(root, found)
    pairs: dict[str | None, tuple[Path, Path]] = {}
    for split, parts in found.items():
        if parts["image"] and parts["label"]:
            pairs[split] = (parts["image"][0], parts["label"][0])
        elif parts["image"] and split is not None:
            logger.info("%s: no labels, and so left out.", printable(parts["image"][0]))
    if None in pairs and len(pairs) > 1:
        names = ", ".join(f"{printable(images.name)}/" for images, _ in pairs.values())
        raise InputError(
            f"{printable(root)}: has {names}; expected either one of them or one a split. Move the others."
        )
    raters = rater_folders(root)
    if not pairs and raters and found[None]["image"]:
        raise InputError(
            f"{printable(root)}: has labels of {len(raters)} raters ({printable(raters[0].name)}/, ...), but no "
            "labels/; expected there what is to be learnt, such as what most raters marked. Add it."
        )
    return pairs


def _check_one_each(root: Path, found: dict[str | None, dict[str, list[Path]]]) -> None:
    """Raise when several folders may be meant."""
    for parts in found.values():
        filled = {
            kind: [f for f in folders if files_below(f)] if len(folders) > 1 else folders
            for kind, folders in parts.items()
        }
        for kind, folders in filled.items():
            if len(folders) > 1 and all(parts.values()):
                names = ", ".join(f"{printable(folder.name)}/" for folder in folders)
                raise InputError(
                    f"{printable(root)}: has several folders of {kind}s ({names}); expected one, or images/ and "
                    "labels/. Rename or move the others, or list the files in a datalist .json or .csv."
                )
            parts[kind] = folders or parts[kind]


def _inner_splits(images: Path, labels: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of splits in the two folders (``images/train``, ``labels/train``); empty without such."""
    inner = subfolders(images)
    if not inner or not all(folder_word(folder) in SPLIT_WORDS for folder in inner):
        return {}
    of_labels = {SPLIT_WORDS.get(folder_word(folder)): folder for folder in subfolders(labels)}
    pairs = {}
    for folder in inner:
        split = SPLIT_WORDS[folder_word(folder)]
        if split in pairs:
            raise InputError(f"{printable(images)}: has two folders of {split} images; expected one. Merge them.")
        if split in of_labels:
            pairs[split] = (folder, of_labels[split])
        else:
            logger.info("%s: no labels, and so left out.", printable(folder))
    return pairs
