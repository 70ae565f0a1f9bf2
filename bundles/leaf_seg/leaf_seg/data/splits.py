"""A split that is made once, kept in a JSON file and used again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)

Case = dict[str, Any]  # absolute paths: "image", and "label", which may be a list of one for each class
Splits = dict[str, list[Case]]

SPLITS = ("training", "validation", "testing")


def kept_split(cases: Sequence[Case], root: Path, file: Path, fractions: Sequence[float], seed: int) -> Splits:
    """The split of the cases that ``file`` holds, or a new one that is written there.

    Args:
        cases: dictionaries with the absolute paths "image" and "label".
        root: folder of the data set; paths in the file are relative to it.
        file: JSON file of the split.
        fractions: shares of training, validation and testing in a new split; each gets at least one case.
        seed: of the shuffling.

    Raises:
        InputError: When fewer than three cases are to be split, the file is of other cases, or it cannot be written.
    """
    if kind_of(file) == FILE:
        return _read_split(cases, root, file, fractions, seed)
    splits = _make_split(cases, root, fractions, seed)
    content = {
        "sha256": digest(splits, root),
        "seed": seed,
        "fractions": list(fractions),
        **{split: [_relative(case, root) for case in splits[split]] for split in SPLITS},
    }
    _write_json(content, file)
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    logger.info("Split %d cases into %s; kept in %s.", len(cases), counts, file)
    return splits


def digest(splits: Mapping[str, Sequence[Case]], root: Path) -> str:
    """SHA-256 of the splits and their paths relative to ``root``, whatever the order of the cases."""
    cases = [(split, _relative(case, root)) for split in SPLITS for case in splits[split]]
    lines = sorted(f"{split}\t{case['image']}\t{case['label']}" for split, case in cases)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def check_unique(splits: Mapping[str, Sequence[Case]], path: Path) -> None:
    """Raise when an image is listed twice: a case for training must not be one for testing, too.

    Args:
        splits: cases of each split.
        path: where they were listed, for the message.

    Raises:
        InputError: Names the first few such images.
    """
    counts = Counter(os.path.realpath(case["image"]) for cases in splits.values() for case in cases)
    twice = [image for image, count in counts.items() if count > 1]
    if twice:
        raise InputError(
            f"{path}: {len(twice)} images are listed more than once: {shortened(twice)}. List each only once."
        )


def is_case(entry: Any) -> bool:
    """Whether an entry of a JSON list names one image and one label, which may be of several files."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        return False
    label = entry.get("label")
    files = label if isinstance(label, list) else [label]
    return bool(files) and all(isinstance(file, str) for file in files)


def _make_split(cases: Sequence[Case], root: Path, fractions: Sequence[float], seed: int) -> Splits:
    """Shuffle the sorted cases by the seed and cut them in three."""
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"The split fractions are {list(fractions)}; expected three positive numbers that sum to 1.")
    count = len(cases)
    if count < 3:
        raise InputError(
            f"{root}: {count} case(s) found to split into training, validation and testing; expected at least 3. Add "
            "cases, or give the split yourself: validation or testing lists in the .json, or a split.json."
        )
    shuffled = sorted(cases, key=lambda case: _relative(case, root)["image"])
    random.Random(seed).shuffle(shuffled)
    num_validation = min(max(1, round(fractions[1] * count)), count - 2)
    num_testing = min(max(1, round(fractions[2] * count)), count - 1 - num_validation)
    num_training = count - num_validation - num_testing
    parts = shuffled[:num_training], shuffled[num_training : count - num_testing], shuffled[count - num_testing :]
    return {split: sorted(part, key=lambda case: case["image"]) for split, part in zip(SPLITS, parts, strict=True)}


def _read_split(cases: Sequence[Case], root: Path, file: Path, fractions: Sequence[float], seed: int) -> Splits:
    """The split that an earlier call wrote, if it is one of these cases."""
    content = read_json_object(file)
    if not all(isinstance(content.get(split), list) and all(map(is_case, content[split])) for split in SPLITS):
        raise InputError(
            f"{file}: holds no split; expected the lists {', '.join(SPLITS)} of {{image, label}}. Delete it to split "
            "anew, or point --datalist_file to another."
        )
    kept: Splits = {split: content[split] for split in SPLITS}
    check_unique(kept, file)
    by_image = {_relative(case, root)["image"]: case for case in cases}
    _check_same_cases(set(by_image), {case["image"] for split in SPLITS for case in kept[split]}, root, file)
    if content.get("sha256") != digest(kept, root):
        logger.warning("%s was changed since it was written; its split is used as it stands.", file)
    if (content.get("seed"), content.get("fractions")) != (seed, list(fractions)):
        logger.warning("%s was made with another seed or other fractions than asked for; its split is used.", file)
    logger.info("Using the split in %s.", file)
    return {split: [by_image[case["image"]] for case in kept[split]] for split in SPLITS}


def _check_same_cases(now: set[str], then: set[str], root: Path, file: Path) -> None:
    """Raise when images came or went since the split was made."""
    changes = {"added": sorted(now - then), "removed": sorted(then - now)}
    found = "; ".join(f"{len(names)} {what}: {shortened(names)}" for what, names in changes.items() if names)
    if found:
        raise InputError(
            f"{file}: the data set {root} has changed since it was split ({found}). Delete the file to split anew, "
            "which may turn training cases into test cases, or point --datalist_file to another."
        )


def _relative(case: Case, root: Path) -> Case:
    """The case with paths relative to ``root``, with forward slashes, where they lie in it."""
    return {
        key: [_below(file, root) for file in value] if isinstance(value, list) else _below(value, root)
        for key, value in case.items()
    }


def _below(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def _write_json(content: dict[str, Any], file: Path) -> None:
    """Write a whole file or none: another process may read it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except (OSError, InputError) as error:
        raise InputError(
            f"{file}: the split cannot be written ({error}); expected a folder that can be written to. Pass "
            "--datalist_file with a path elsewhere."
        ) from error
