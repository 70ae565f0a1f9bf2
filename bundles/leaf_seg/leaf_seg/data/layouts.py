"""The folder layouts in which people keep data sets."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leaf_seg.data.model_settings import check_class_names
from leaf_seg.data.splits import SPLITS, Case, Splits, check_unique, is_case
from leaf_seg.image_io.formats import image_suffix, suffixes
from leaf_seg.image_io.listing import case_name, image_files
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.paths import FILE, FOLDER, absolute, kind_of
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """What a data set's own files say.

    Attributes:
        root: folder that its paths are relative to, absolute.
        splits: cases with absolute paths; all are "training" where the data set does not split them.
        class_names: background first; None where the data set does not say.
        is_split: whether the data set splits its cases.
    """

    root: Path
    splits: Splits
    class_names: list[str] | None
    is_split: bool


def no_data_set() -> InputError:
    """The error where a command needs a data set, and none is given."""
    return InputError("No data set is given; expected its folder or datalist: --dataset_dir FOLDER.")


def read_layout(dataset_dir: str | None) -> Layout:
    """Read a datalist .json file, a Decathlon folder, or a folder with ``images/`` and ``labels/``.

    A ``split.json`` in either folder splits cases that are not split yet.

    Raises:
        InputError: When it is None or none of these, holds no pairs, or its lists and files disagree.
    """
    if dataset_dir is None:
        raise no_data_set()
    path = absolute(dataset_dir)
    if kind_of(path) == FILE and path.suffix.lower() == ".json":
        layout = _read_datalist(path)
    elif kind_of(path / "dataset.json") == FILE:
        layout = _read_datalist(path / "dataset.json")
    elif kind_of(path / "images") == FOLDER and kind_of(path / "labels") == FOLDER:
        layout = _read_folders(path)
    else:
        raise InputError(f"{printable(dataset_dir)}: no data set there, but {_found(path)}. Expected {_layouts()}.")
    split_file = path / "split.json"
    has_split_file = kind_of(split_file) == FILE
    if has_split_file and layout.is_split:
        logger.warning("%s is not used: the data set's own list has a split already.", split_file)
    elif has_split_file and layout.splits["training"]:
        layout = replace(layout, splits=_read_split_file(split_file, layout.splits["training"]), is_split=True)
    if not any(layout.splits.values()):
        raise InputError(
            f"{printable(dataset_dir)}: no pairs of image and label there, but {_found(path)}. Expected {_layouts()}."
        )
    check_unique(layout.splits, path)
    return layout


def _read_datalist(path: Path) -> Layout:
    """A MONAI datalist or the Decathlon's ``dataset.json``, which are nearly the same."""
    content = read_json_object(path)
    if not isinstance(content.get("training", []), list) or not {*SPLITS, "test"} & set(content):
        raise InputError(
            f"{path}: has the keys {', '.join(content) or '(none)'}; expected the list training, and validation and "
            "testing where there are such. Add them."
        )
    lists = {split: content.get(split) or [] for split in SPLITS}
    lists["testing"] = lists["testing"] or content.get("test") or []
    if not any(isinstance(entry, dict) and {"label", "label_files"} & set(entry) for entry in lists["testing"]):
        lists["testing"] = []  # the Decathlon's test images have no labels: nothing to evaluate against
    splits = {split: [_read_entry(entry, path) for entry in lists[split] if not _is_hidden(entry)] for split in SPLITS}
    files = [file for cases in splits.values() for case in cases for file in _files_of(case)]
    missing = [file for file in files if kind_of(file) != FILE]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of its files do not exist or are no files: {shortened(missing)}. Expected "
            f"paths that are absolute or relative to {path.parent}; correct the list or fetch the files."
        )
    is_split = bool(splits["validation"] or splits["testing"])
    return Layout(path.parent, splits, _read_class_names(content.get("labels"), path), is_split)


def _is_hidden(entry: Any) -> bool:
    """Whether an entry is for one of the ``._*`` files that macOS leaves in archives."""
    return is_case(entry) and Path(entry["image"]).name.startswith("._")


def _read_entry(entry: Any, path: Path) -> Case:
    """The case of a list's entry, with absolute paths; its label has several files where "label_files" lists them."""
    listed = entry.get("label_files") if isinstance(entry, dict) else None
    is_listed = isinstance(listed, list) and is_case({**entry, "label": listed})
    if not is_listed and not (is_case(entry) and isinstance(entry["label"], str)):
        raise InputError(
            f"{path}: found the entry {entry!r}; expected {{'image': path, 'label': path}}, or 'label_files' with a "
            "list of one for each class. Correct it."
        )
    image, *labels = (os.path.normpath(path.parent / file) for file in (entry["image"], *(listed or [entry["label"]])))
    return {"image": image, "label": labels if is_listed else labels[0]}


def _files_of(case: Case) -> list[str]:
    label = case["label"]
    return [case["image"], *(label if isinstance(label, list) else [label])]


def _read_class_names(labels: Any, path: Path) -> list[str] | None:
    """Class names in order, from ``{"0": "background", ...}`` or the newer ``{"background": 0, ...}``."""
    if labels is None:
        return None
    pairs = labels.items() if isinstance(labels, dict) else []
    numbers_first = all(str(key).isdigit() for key, _ in pairs)
    names = {str(key): value for key, value in pairs} if numbers_first else {str(v): k for k, v in pairs}
    numbers = [str(number) for number in range(len(names))]
    if len(names) < max(2, len(pairs)) or set(names) != set(numbers):
        raise InputError(
            f"{path}: its labels are {labels!r}; expected the classes 0, 1, ... without gaps, as "
            '{"0": "background", "1": "name"} or {"background": 0, "name": 1}. Correct them.'
        )
    return list(check_class_names([names[number] for number in numbers], f"{path}: its labels, by number,"))


def _read_folders(root: Path) -> Layout:
    """A folder with ``images/`` and ``labels/``."""
    images, labels = _files_by_case(root / "images"), _files_by_case(root / "labels")
    if not images or not labels:
        return Layout(root, {split: [] for split in SPLITS}, None, is_split=False)
    _check_matches(root, images, labels)
    cases = [{"image": str(images[name]), "label": str(labels[name])} for name in images]
    return Layout(root, {"training": cases, "validation": [], "testing": []}, None, is_split=False)


def _files_by_case(folder: Path) -> dict[str, Path]:
    """Images of a folder by case name, sorted; hidden files and files of other kinds do not count."""
    files: dict[str, Path] = {}
    for file in image_files(folder):
        name = case_name(file)
        if name in files:
            both = f"{printable(file)} and {printable(files[name].name)}"
            raise InputError(f"{both} are the same case; expected one file. Remove one.")
        files[name] = file
    return files


def _check_matches(root: Path, images: Mapping[str, Path], labels: Mapping[str, Path]) -> None:
    """Raise when images lack labels or labels lack images."""
    alone = {
        "images without label": sorted(set(images) - set(labels)),
        "labels without image": sorted(set(labels) - set(images)),
    }
    found = "; ".join(f"{len(names)} {what}: {shortened(names)}" for what, names in alone.items() if names)
    if found:
        raise InputError(
            f"{root}: {found}. Expected one file in images/ and one in labels/ for each case, with the same name up to "
            "the suffix; rename, add or remove files."
        )


def _read_split_file(path: Path, all_cases: Sequence[Case]) -> Splits:
    """The splits of ``split.json``, which lists names of image files; cases it leaves out belong to none."""
    cases = {Path(case["image"]).name: case for case in all_cases}
    if len(cases) < len(all_cases):
        raise InputError(f"{path}: names images by their file names, but some images have the same; rename those.")
    content = read_json_object(path)
    if not content or not set(content) <= set(SPLITS) or not all(isinstance(names, list) for names in content.values()):
        raise InputError(
            f"{path}: has the keys {', '.join(content) or '(none)'}; expected lists of file names under "
            f"{', '.join(SPLITS)}. Correct the file."
        )
    listed = [str(name) for names in content.values() for name in names]
    unknown = [name for name in listed if name not in cases]
    if unknown:
        raise InputError(
            f"{path}: names {len(unknown)} files that are no images of the data set: {shortened(unknown)}. Expected "
            f"names such as {next(iter(cases))}; correct them or add the files."
        )
    twice = [name for name, count in Counter(listed).items() if count > 1]
    if twice:
        raise InputError(f"{path}: names {len(twice)} files more than once: {shortened(twice)}. Name each only once.")
    if len(listed) < len(cases):
        logger.info("%s leaves out %d of %d cases.", path, len(cases) - len(listed), len(cases))
    return {split: [cases[name] for name in content.get(split, [])] for split in SPLITS}


def _layouts() -> str:
    """The layouts, in words."""
    return (
        "one of: a datalist .json file with the lists training, validation, testing of {image, label}; a Decathlon "
        "folder with dataset.json; a folder with images/ and labels/ whose case names match "
        f"({', '.join(suffixes())})"
    )


def _found(path: Path) -> str:
    """What there is at ``path``, in words."""
    kind = kind_of(path)
    if kind != FOLDER:
        return f"only the file {printable(path.name)}" if kind == FILE else f"nothing (it {kind})"
    folders = [folder for folder in (path, path / "images", path / "labels") if kind_of(folder) == FOLDER]
    return "; ".join(f"in {folder.name}/ {_contents(folder)}" for folder in folders)


def _contents(folder: Path) -> str:
    """Kinds of entries of a folder with their numbers."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        return f"what cannot be read ({error.strerror})"
    kinds = Counter(image_suffix(entry) or entry.suffix for entry in entries if kind_of(entry) == FILE)
    names = [f"{entry.name}/" for entry in entries if kind_of(entry) == FOLDER]
    return shortened([f"{count} {kind or 'file'}" for kind, count in kinds.most_common()] + names) or "nothing"
