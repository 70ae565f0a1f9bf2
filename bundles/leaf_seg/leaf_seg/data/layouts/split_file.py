"""``split.json``: the split of a data set by the names of its images."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leaf_seg.data.layouts.names import SPLIT_WORDS, composed
from leaf_seg.data.splits import SPLITS, Case, Splits
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)


def read_split_file(path: Path, all_cases: Sequence[Case], root: Path) -> Splits:
    """The splits of a file that lists images; cases it leaves out belong to none.

    Args:
        path: of the file, with lists under training, validation and testing (or train, val and test).
        all_cases: of the data set.
        root: of the data set. Images are named by their file names, with or without suffix, or their paths below it.

    Raises:
        InputError: When it has other keys, names what is no image of the data set, or names an image twice.
    """
    content = read_json_object(path)
    known = {key: SPLIT_WORDS.get(key, "") for key in content}
    fits = all(known.values()) and len(set(known.values())) == len(content)
    if not content or not fits or not all(isinstance(names, list) for names in content.values()):
        raise InputError(
            f"{path}: has the keys {', '.join(content) or '(none)'}; expected lists of file names under "
            f"{', '.join(SPLITS)}. Correct the file."
        )
    return split_by_names(path, content, all_cases, root)


def split_by_names(path: Path, content: Mapping[str, Sequence[Any]], all_cases: Sequence[Case], root: Path) -> Splits:
    """The splits by lists of images under the names of splits; as :func:`read_split_file`, which see.

    Raises:
        InputError: When a list names what is no image of the data set, or an image is named twice.
    """
    known = {key: SPLIT_WORDS[key] for key in content}
    cases = _by_any_name(all_cases, root)
    listed = {known[key]: [composed(str(name)).replace("\\", "/") for name in names] for key, names in content.items()}
    unknown = [name for names in listed.values() for name in names if name.removeprefix("./") not in cases]
    if unknown:
        raise InputError(
            f"{path}: names {len(unknown)} files that are no images of the data set: {shortened(unknown)}. Expected "
            f"names such as {Path(all_cases[0]['image']).name}; correct them or add the files."
        )
    splits = {split: [cases[name.removeprefix("./")] for name in listed.get(split, [])] for split in SPLITS}
    shared = [name for names in listed.values() for name in names if len(cases[name.removeprefix("./")]) > 1]
    if shared:
        raise InputError(
            f"{path}: names images by their file names, but some images have the same ({shortened(shared)}); name "
            "them by their paths below the data set's folder."
        )
    chosen = {split: [found[0] for found in members] for split, members in splits.items()}
    counts = Counter(case["image"] for members in chosen.values() for case in members)
    twice = [Path(image).name for image, count in counts.items() if count > 1]
    if twice:
        raise InputError(f"{path}: names {len(twice)} files more than once: {shortened(twice)}. Name each only once.")
    if len(counts) < len(all_cases):
        logger.info("%s leaves out %d of %d cases.", path, len(all_cases) - len(counts), len(all_cases))
    return chosen


def _by_any_name(cases: Sequence[Case], root: Path) -> dict[str, list[Case]]:
    """Cases by each of their names: the whole path, that below the root, the file's name, that without suffix."""
    found: dict[str, list[Case]] = {}
    names: tuple[Callable[[Case], str], ...] = (_path, partial(_below, root), _file, _stem, _label_stem)
    for name_of in names:
        tier: dict[str, list[Case]] = {}
        for case in cases:
            tier.setdefault(composed(name_of(case)), []).append(case)
        found = tier | found  # an image's own name counts before what another one may be called, too
    return found


def _path(case: Case) -> str:
    return str(case["image"])


def _below(root: Path, case: Case) -> str:
    return Path(os.path.relpath(case["image"], root)).as_posix()


def _file(case: Case) -> str:
    return Path(case["image"]).name


def _stem(case: Case) -> str:
    return case_name(case["image"])


def _label_stem(case: Case) -> str:
    return case_name(case["label"])
