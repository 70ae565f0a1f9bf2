"""A MONAI datalist, or the Decathlon's ``dataset.json``, which are nearly the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaf_seg.data.layouts.class_names import modality_names, read_class_names
from leaf_seg.data.layouts.layout import Choices, Layout, in_splits
from leaf_seg.data.layouts.listed_files import base_folder, listed_file
from leaf_seg.data.layouts.names import SPLIT_WORDS
from leaf_seg.data.splits import SPLITS, Case, files_of_label
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line, shortened

logger = logging.getLogger(__name__)

_GROUP_KEYS = ("group", "patient", "patient_id", "subject", "case_id")


def is_datalist(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object lists cases."""
    return any(isinstance(content.get(word), list) and content[word] for word in SPLIT_WORDS)


def has_lists(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object has the key of any split."""
    return any(word in content for word in SPLIT_WORDS)


def read_datalist(path: Path, content: Mapping[str, Any], choices: Choices) -> Layout:
    """The cases that a JSON object lists, and its folds.

    Args:
        path: of the file; paths in it are relative to its folder, or to that of the file that it links to.
        content: of the file.
        choices: the modality counts.

    Raises:
        InputError: When it has no lists, entries are none of pairs, or files are missing.
    """
    lists = _lists(path, content)
    if not any(
        isinstance(entry, dict) and (entry.get("label") or entry.get("label_files")) for entry in lists["testing"]
    ):
        lists["testing"] = []  # the Decathlon's test images have no labels: nothing to evaluate against
    entries = {split: [_checked(entry, path) for entry in lists[split] if not _is_hidden(entry)] for split in SPLITS}
    listed = [file for split in SPLITS for entry in entries[split] for file in _paths(entry)]
    root = base_folder(path, listed)
    cases = {split: [_case(entry, root) for entry in entries[split]] for split in SPLITS}
    _check_pairs(cases, path)
    _tell_counts(content, lists, path)
    modalities = modality_names(content)
    return Layout(
        f"the list {path.name}",
        root,
        in_splits(**cases),
        read_class_names(content.get("labels"), path),
        bool(cases["validation"] or cases["testing"]),
        groups=_groups(entries, cases),
        folds=_folds(entries["training"], cases["training"], path),
        modalities=modalities if len(modalities) > 1 else (),
    )


def _lists(path: Path, content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The lists by split, under any of the names of a split; other lists of cases are told."""
    lists: dict[str, list[Any]] = {split: [] for split in SPLITS}
    named = {word: content[word] for word in SPLIT_WORDS if word in content}
    if not named or not all(isinstance(entries, list) for entries in named.values()):
        raise InputError(
            f"{path}: has the keys {', '.join(content) or '(none)'}; expected the list training, and validation and "
            "testing where there are such. Add them."
        )
    for word, entries in named.items():
        split = SPLIT_WORDS[word]
        if entries and lists[split]:
            raise InputError(f"{path}: has two lists of {split} cases, one of them {word}; expected one. Merge them.")
        lists[split] = lists[split] or entries
    passed = [key for key, value in content.items() if key not in SPLIT_WORDS and _holds_cases(value)]
    if passed:
        logger.warning("%s: its lists %s belong to no split and are left out.", path, shortened(passed))
    return lists


def _holds_cases(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and "image" in entry for entry in value)


def _is_hidden(entry: Any) -> bool:
    """Whether an entry is for one of the ``._*`` files that macOS leaves in archives."""
    image = entry.get("image") if isinstance(entry, dict) else None
    return isinstance(image, str) and Path(image).name.startswith("._")


def _checked(entry: Any, path: Path) -> dict[str, Any]:
    """An entry that names one image, and one label, one of several files, or those of several raters."""
    files = entry.get("label_files") if isinstance(entry, dict) else None
    if files is not None:
        whole = isinstance(files, list) and files and all(isinstance(file, str) and file for file in files)
        if not whole or not isinstance(entry.get("image"), str) or "label" in entry:
            raise InputError(
                f"{path}: found the entry {one_line(repr(entry))}; expected {{'image': path, 'label': path}}, "
                "or 'label_files' with a list of one for each class in its place. Correct it."
            )
        return {**entry, "label": list(files), "raters": entry.get("raters", [])}
    image, label = (entry.get(key) if isinstance(entry, dict) else None for key in ("image", "label"))
    image = image[0] if isinstance(image, list) and len(image) == 1 else image
    labels = label if isinstance(label, list) else [label]
    raters = entry.get("raters", []) if isinstance(entry, dict) else []
    if isinstance(image, list) and labels and all(isinstance(one, str) for one in (*image, *labels)):
        raise InputError(
            f"{path}: found the entry {one_line(repr(entry))} with {len(image)} images; a network sees one of them. "
            "Keep the one to segment in the list, as a text."
        )
    texts = [image, *labels, *(raters if isinstance(raters, list) else [None])]
    if not labels or not all(isinstance(text, str) and text for text in texts):
        raise InputError(
            f"{path}: found the entry {entry!r}; expected {{'image': path, 'label': path}}, or 'label_files' "
            "with a list of one for each class. Correct it."
        )
    return {**entry, "image": image, "label": labels[0], "raters": raters or (labels if len(labels) > 1 else [])}


def _paths(entry: Mapping[str, Any]) -> list[str]:
    return [entry["image"], *files_of_label(entry), *entry["raters"]]


def _case(entry: Mapping[str, Any], root: Path) -> Case:
    """The case of a list's entry, with absolute paths."""
    raters = {"raters": [listed_file(file, root) for file in entry["raters"]]} if entry["raters"] else {}
    files = [listed_file(file, root) for file in files_of_label(entry)]
    label = files if isinstance(entry["label"], list) else files[0]
    return {"image": listed_file(entry["image"], root), "label": label} | raters


def _check_pairs(cases: Mapping[str, list[Case]], path: Path) -> None:
    """Raise when a label is an image; tell when a label is that of several images."""
    every = [case for split in SPLITS for case in cases[split]]
    images = {os.path.realpath(case["image"]) for case in every}
    labels = [os.path.realpath(file) for case in every for file in files_of_label(case)]
    wrong = sorted(images.intersection(labels))
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of its labels are images of the list: {shortened(wrong)}. Expected label files of "
            "their own; correct the list."
        )
    count = len(labels) - len(set(labels))
    if count:
        logger.warning("%s: %d labels are those of more than one image; check that this is meant.", path, count)
    several = [case for case in every if case.get("raters") and case["label"] == case["raters"][0]]
    if several:
        logger.warning("%s: %d cases have several labels; the first is that of training.", path, len(several))


def _tell_counts(content: Mapping[str, Any], lists: Mapping[str, list[Any]], path: Path) -> None:
    """Tell when the file says that it lists more or fewer cases than it does."""
    for key, split in (("numTraining", "training"), ("numTest", "testing")):
        count, said = sum(not _is_hidden(entry) for entry in lists[split]), content.get(key)
        if isinstance(said, int) and count and said != count:
            logger.warning("%s: %s is %d, but it lists %d; the list is used.", path, key, said, count)


def _groups(entries: Mapping[str, list[dict[str, Any]]], cases: Mapping[str, list[Case]]) -> dict[str, str]:
    """The patient or group that entries name."""
    key = next((key for key in _GROUP_KEYS if any(key in e for split in SPLITS for e in entries[split])), None)
    pairs = [pair for split in SPLITS for pair in zip(entries[split], cases[split], strict=True)]
    return {case["image"]: str(entry[key]) for entry, case in pairs if key is not None and key in entry}


def _folds(entries: list[dict[str, Any]], cases: list[Case], path: Path) -> list[list[Case]]:
    """The cases of each of MONAI's folds; none where no entry has one."""
    numbers = [entry.get("fold") for entry in entries]
    if all(number is None for number in numbers):
        return []
    whole = [number for number in numbers if isinstance(number, int) and not isinstance(number, bool) and number >= 0]
    if len(whole) < len([number for number in numbers if number is not None]) or max(whole) > 1000:
        raise InputError(f"{path}: has folds that are no whole numbers from 0 on; correct the key fold.")
    return [
        [case for case, number in zip(cases, numbers, strict=True) if number == fold] for fold in range(max(whole) + 1)
    ]
