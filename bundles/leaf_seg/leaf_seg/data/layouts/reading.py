"""Finds out which layout a data set has, and reads it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from leaf_seg.data.layouts.class_names import read_class_names
from leaf_seg.data.layouts.datalist import has_lists, read_datalist
from leaf_seg.data.layouts.folds import NNUNET_SPLITS, with_folds
from leaf_seg.data.layouts.layout import Choices, Layout, in_splits
from leaf_seg.data.layouts.listed_files import as_on_disk
from leaf_seg.data.layouts.nnunet import is_nnunet, read_nnunet
from leaf_seg.data.layouts.split_file import read_split_file
from leaf_seg.data.layouts.split_folders import read_unlisted
from leaf_seg.data.layouts.split_texts import has_split_texts, read_split_texts, tell_unread
from leaf_seg.data.layouts.table import read_table
from leaf_seg.data.splits import DATALIST_NAME, SPLITS, check_unique
from leaf_seg.image_io.formats import image_suffix, suffixes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.paths import FILE, FOLDER, absolute, kind_of
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)


def no_data_set() -> InputError:
    """The error where a command needs a data set, and none is given."""
    return InputError("No data set is given; expected its folder or datalist: --dataset_dir FOLDER.")


def read_layout(dataset_dir: str | None, choices: Choices | None = None) -> Layout:
    """Read a data set in any of the layouts that ``docs/data.md`` lists; logs which it has.

    A ``split.json`` in its folder splits cases that are not split yet, and so do folds.

    Args:
        dataset_dir: folder of the data set, or a .json or .csv file that lists it.
        choices: where the data set leaves a choice.

    Raises:
        InputError: When it is None or of no known layout or of several, holds no pairs, or its lists and files
            disagree.
    """
    if dataset_dir is None:
        raise no_data_set()
    choices = choices or Choices()
    dataset_dir = _as_on_disk(dataset_dir)
    path = absolute(dataset_dir)
    layout = _read(dataset_dir, path, choices)
    layout = _split(layout, path, choices)
    if not any(layout.splits.values()):
        raise InputError(
            f"{printable(dataset_dir)}: no pairs of image and label there, but {_found(path)}. Expected {_layouts()}."
        )
    check_unique(layout.splits, path)
    _tell(layout, path, choices)
    return layout


def _as_on_disk(dataset_dir: str) -> str:
    r"""The path in the normal form of Unicode, and with the slashes, by which something is there; else as it is."""
    written = os.path.abspath(os.path.expanduser(dataset_dir))
    if kind_of(written) in (FILE, FOLDER) or "\0" in dataset_dir:
        return dataset_dir
    return as_on_disk(written) or as_on_disk(written.replace("\\", "/")) or dataset_dir


def _read(dataset_dir: str, path: Path, choices: Choices) -> Layout:
    """What the data set says before it is split by a file or by folds."""
    suffix, kind = path.suffix.lower(), kind_of(path)
    as_given = Path(os.path.abspath(os.path.expanduser(dataset_dir))) if kind == FILE else path
    if kind == FILE and as_given.suffix.lower() == ".json":
        return _read_json(as_given, choices)
    if kind == FILE and suffix in (".csv", ".tsv"):
        return read_table(as_given, choices)
    if kind_of(path / "dataset.json") == FILE:
        return _read_json(path / "dataset.json", choices)
    layout = read_unlisted(path, choices) if kind == FOLDER else None
    if layout is None and kind_of(path / "images") == FOLDER and kind_of(path / "labels") == FOLDER:
        return Layout("images/ + labels/", path, in_splits())  # of which nothing is an image
    if layout is None:
        raise InputError(f"{printable(dataset_dir)}: no data set there, but {_found(path)}. Expected {_layouts()}.")
    return layout


def _read_json(file: Path, choices: Choices) -> Layout:
    content = read_json_object(file)
    root = file.parent
    if file.name == "dataset.json" and is_nnunet(root, content):
        return read_nnunet(root, content, choices)
    if file.name == "dataset.json" and not has_lists(content):
        layout = read_unlisted(root, choices)
        if layout is not None:  # a file that names the classes of what is in the folders
            labels = content.get("labels")
            names = read_class_names(labels, file) if isinstance(labels, dict) else None
            logger.warning("%s lists no cases; those of the folders are used.", file)
            return replace(layout, class_names=names)
    return read_datalist(file, content, choices)


def _split(layout: Layout, path: Path, choices: Choices) -> Layout:
    """The layout, split by a file or by folds where it is not split yet."""
    is_list = kind_of(path) == FILE and path.name != "dataset.json"
    if choices.split_file is not None:
        if choices.fold is not None:
            raise InputError(f"fold is {choices.fold}, and split_file is given, too; expected one of them.")
        split_file = _wanted(choices.split_file, layout.root)
        every = [case for split in SPLITS for case in layout.splits[split]]
        return replace(layout, splits=read_split_file(split_file, every, layout.root), is_split=True, folds=())
    split_file = layout.root / "split.json"
    if kind_of(split_file) != FILE or split_file == path:
        if choices.fold is None and not layout.is_split and kind_of(layout.root / DATALIST_NAME) == FILE:
            _tell_kept(layout)
            return layout
        layout = with_folds(layout, choices)
        may_be_split = not layout.is_split and not layout.splits["testing"] and not is_list
        texts = read_split_texts(layout.root, layout.splits["training"]) if may_be_split else None
        return layout if texts is None else replace(layout, splits=texts, is_split=True)
    if layout.is_split or layout.splits["testing"] or is_list:
        why = (
            "its list gives none" if is_list and not layout.is_split else "the data set's own list has a split already"
        )
        logger.warning("%s is not used: %s. --split_file %s takes it.", split_file, why, split_file.name)
        return with_folds(layout, choices)
    if not layout.splits["training"]:
        return layout
    if choices.fold is not None:
        logger.warning("%s is not used: fold %d is asked for.", split_file, choices.fold)
        return with_folds(layout, choices)
    if layout.folds or kind_of(layout.root / NNUNET_SPLITS) == FILE:
        logger.warning("%s: split.json is used, and the folds are not. Choose one by --fold.", layout.root)
    return replace(layout, splits=read_split_file(split_file, layout.splits["training"], layout.root), is_split=True)


def _tell_kept(layout: Layout) -> None:
    """Log where a split that was made before stands above what else would split the data set now."""
    if layout.folds or kind_of(layout.root / NNUNET_SPLITS) == FILE or has_split_texts(layout.root):
        logger.warning(
            "%s: the split in %s, which was made before, is used; folds and lists of names are not. Delete it to use "
            "them, which may turn training cases into test cases, or choose by --fold.",
            printable(layout.root),
            DATALIST_NAME,
        )


def _wanted(split_file: str, root: Path) -> Path:
    """The file of the split, beside the data set or from the working folder."""
    beside, here = root / os.path.expanduser(split_file), absolute(split_file)
    file = beside if kind_of(beside) == FILE else here
    if kind_of(file) != FILE:
        raise InputError(f"split_file is {split_file!r}: neither {beside} nor {here} is a file. Correct the path.")
    return file


def _tell(layout: Layout, path: Path, choices: Choices) -> None:
    """Log what was recognised, and what may be meant otherwise."""
    counts = ", ".join(f"{len(layout.splits[split])} {split}" for split in SPLITS if layout.splits[split])
    logger.info("%s: recognised %s; %s.", printable(path), layout.name, f"{counts}{_unsplit(layout)}")
    if not layout.is_split:
        tell_unread(layout.root)
    if layout.modalities and choices.modality is None:
        listed = ", ".join(map(printable, layout.modalities))
        logger.warning(
            "%s: lists %d modalities (%s); its images have as many channels, for --channels from 0 in this order.",
            path,
            len(layout.modalities),
            listed,
        )


def _unsplit(layout: Layout) -> str:
    if layout.is_split:
        return ""
    return ", of which some will be for validation" if layout.splits["testing"] else ", not split"


def _layouts() -> str:
    """The layouts, in words."""
    return (
        "one of: a datalist .json file with the lists training, validation, testing of {image, label}; a .csv file "
        "with the columns image and label; a Decathlon or nnU-Net folder with dataset.json; a folder with images/ and "
        "labels/ (or masks/) whose case names match, also within train/, val/ and test/; images and labels together "
        f"as a.png and a_mask.png; a folder for each patient ({', '.join(suffixes())})"
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
