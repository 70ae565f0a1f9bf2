"""A split that is made once, kept in a JSON file and used again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leaf_seg.image_io.pair_files import voxels_of
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)

# The absolute paths "image" and "label", which may be a list of one for each class; perhaps "raters", a list of paths.
Case = dict[str, Any]
Splits = dict[str, list[Case]]

SPLITS = ("training", "validation", "testing")
DATALIST_NAME = "leaf_seg_datalist.json"  # where a split that is made here is kept, unless told otherwise


@dataclass(frozen=True)
class SplitRule:
    """How cases are split.

    Attributes:
        fractions: shares of training, validation and testing in a new split; each gets at least one case.
        seed: of the shuffling.
        groups: of images, by path; the cases of a group come into one part. Others are groups of their own.
        testing: cases that are set apart for testing already, and not among those that are split.
    """

    fractions: Sequence[float]
    seed: int
    groups: Mapping[str, str] = field(default_factory=dict)
    testing: Sequence[Case] = ()


def kept_split(cases: Sequence[Case], root: Path, file: Path, rule: SplitRule) -> Splits:
    """The split of the cases that ``file`` holds, or a new one that is written there.

    Args:
        cases: dictionaries with the absolute paths "image" and "label".
        root: folder of the data set; paths in the file are relative to it.
        file: JSON file of the split.
        rule: how they are split.

    Raises:
        InputError: When fewer than three cases or groups are to be split, the file is of other cases or has a group in
            two parts, or it cannot be written.
    """
    if kind_of(file) == FILE:
        return _read_split([*cases, *rule.testing], root, file, rule)
    splits = make_split(cases, root, rule)
    content = {
        "sha256": digest(splits, root),
        "seed": rule.seed,
        "fractions": list(rule.fractions),
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
    images = [case["image"] for cases in splits.values() for case in cases]
    counts = Counter(map(_identity, images))
    twice = [image for image in dict.fromkeys(images) if counts[_identity(image)] > 1]
    if twice:
        raise InputError(
            f"{path}: {len(twice)} images are listed more than once, or are one file under several names: "
            f"{shortened(twice)}. List each only once."
        )


def _identity(image: str) -> object:
    """What a file is, whatever its name: links, both normal forms of Unicode and both cases may lead to one.

    Of a header and its voxels either may be named.
    """
    file = voxels_of(image)
    try:
        status = os.stat(file)
    except OSError:
        return os.path.realpath(file)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(file)


def files_of_label(case: Mapping[str, Any]) -> list[str]:
    """The file of a label, or those of its classes."""
    label = case["label"]
    return list(label) if isinstance(label, list) else [label]


def is_case(entry: Any) -> bool:
    """Whether an entry of a JSON list names one image and one label, which may be of several files."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        return False
    label = entry.get("label")
    files = label if isinstance(label, list) else [label]
    return bool(files) and all(isinstance(file, str) for file in files)


def make_split(cases: Sequence[Case], root: Path, rule: SplitRule) -> Splits:
    """Shuffle the sorted groups by the seed and deal them out.

    Args:
        cases: to split.
        root: folder of the data set, relative to which they are sorted.
        rule: how they are split.

    Raises:
        InputError: When there are fewer groups than parts, or the fractions are no shares.
    """
    fractions = list(rule.fractions)
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"The split fractions are {fractions}; expected three positive numbers that sum to 1.")
    units: dict[object, list[Case]] = {}
    for case in sorted(cases, key=lambda case: _relative(case, root)["image"]):
        group = rule.groups.get(case["image"])
        units.setdefault(("of none", case["image"]) if group is None else group, []).append(case)
    parts = SPLITS[: 2 if rule.testing else 3]
    if len(units) < len(parts):
        what = "case(s)" if len(units) == len(cases) else f"case(s) in {len(units)} group(s)"
        raise InputError(
            f"{root}: {len(cases)} {what} found to split into {', '.join(parts[:-1])} and {parts[-1]}; expected at "
            f"least {len(parts)}. Add cases, or give the split yourself: validation or testing lists in the .json, or "
            "a split.json."
        )
    shuffled = list(units.values())
    random.Random(rule.seed).shuffle(shuffled)
    share = fractions[1] / (fractions[0] + fractions[1] if rule.testing else 1)
    for_validation = max(1, round(share * len(cases)))
    left = min(math.ceil(for_validation * len(units) / len(cases)), len(units) - 2)  # groups, of the usual size
    testing = list(rule.testing) or _take(shuffled, round(fractions[2] * len(cases)), len(units) - 1 - left)
    validation = _take(shuffled, for_validation, len(shuffled) - 1)
    training = [case for unit in shuffled for case in unit]
    return {
        split: sorted(part, key=lambda case: case["image"])
        for split, part in zip(SPLITS, (training, validation, testing), strict=True)
    }


def _take(units: list[list[Case]], wanted: int, at_most: int) -> list[Case]:
    """Take groups from the end until there are as many cases as wanted, or nearly.

    At least one group; none that would bring more than twice what is lacking, where there is another.
    """
    wanted = max(1, wanted)
    taken: list[Case] = []
    count = 0
    for unit in reversed(list(units)):
        lacking = wanted - len(taken)
        if lacking > 0 and count < at_most and len(unit) <= 2 * lacking:
            taken += unit
            units.remove(unit)
            count += 1
    if not taken:
        smallest = min(reversed(units), key=len)
        units.remove(smallest)
        taken = list(smallest)
    return taken


def _read_split(cases: Sequence[Case], root: Path, file: Path, rule: SplitRule) -> Splits:
    """The split that an earlier call wrote, if it is one of these cases."""
    content = read_json_object(file)
    if not all(isinstance(content.get(split), list) and all(map(is_case, content[split])) for split in SPLITS):
        raise InputError(
            f"{file}: holds no split; expected the lists {', '.join(SPLITS)} of {{image, label}}. Delete it to split "
            "anew, or point --datalist_file to another."
        )
    kept: Splits = {split: content[split] for split in SPLITS}
    check_unique(kept, file)
    kept = {split: [_relative(case, root) for case in kept[split]] for split in SPLITS}
    by_image = {_relative(case, root)["image"]: case for case in cases}
    _check_same_cases(set(by_image), {case["image"] for split in SPLITS for case in kept[split]}, root, file)
    splits = {split: [by_image[case["image"]] for case in kept[split]] for split in SPLITS}
    _check_groups(splits, rule, file)
    if content.get("sha256") != digest(kept, root):
        logger.warning("%s was changed since it was written; its split is used as it stands.", file)
    if (content.get("seed"), content.get("fractions")) != (rule.seed, list(rule.fractions)):
        logger.warning("%s was made with another seed or other fractions than asked for; its split is used.", file)
    logger.info("Using the split in %s.", file)
    return splits


def _check_groups(splits: Splits, rule: SplitRule, file: Path) -> None:
    """Raise when the split was made before the groups were known, and has one in two parts."""
    made = SPLITS[: 2 if rule.testing else 3]  # test cases that the data set gives stay what they are
    parts = {(rule.groups[case["image"]], s) for s in made for case in splits[s] if case["image"] in rule.groups}
    shared = sorted(group for group, count in Counter(group for group, _ in parts).items() if count > 1)
    if shared:
        raise InputError(
            f"{file}: was made without these groups, and has {len(shared)} of them in more than one part: "
            f"{shortened(shared)}. Delete the file to split anew, which turns training cases into test cases, or point "
            "--datalist_file to another."
        )


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
    """The case with paths relative to ``root``, with forward slashes, where they lie in it; in Unicode's form NFC."""
    return {
        key: [_below(path, root) for path in value] if isinstance(value, list) else _below(value, root)
        for key, value in case.items()
    }


def _below(path: str, root: Path) -> str:
    below = Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
    return unicodedata.normalize("NFC", below)


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
