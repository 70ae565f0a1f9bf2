"""What is found in the label maps: classes, empty masks, balance."""

from __future__ import annotations

from collections.abc import Sequence

from leaf_seg.data.splits import files_of_label
from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.cases import UNSPLIT
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.runtime.text import shortened

_RARE = 0.001  # of all pixels
_MOSTLY = 0.5


def present_classes(facts: Sequence[CaseFacts]) -> list[int]:
    """Numbers of the classes that a label map has, 0 among them where there is background."""
    return sorted({value for fact in facts for value in fact.counts})


def classes_per_split(facts: Sequence[CaseFacts], num_classes: int) -> dict[str, list[int]]:
    """Number of cases with each class, by split."""
    splits = list(dict.fromkeys(fact.split for fact in facts))
    return {
        split: [sum(value in fact.counts for fact in facts if fact.split == split) for value in range(num_classes)]
        for split in splits
    }


def class_shares(facts: Sequence[CaseFacts], num_classes: int) -> list[float]:
    """Share of all pixels or voxels of each class."""
    totals = [sum(fact.counts.get(value, 0) for fact in facts) for value in range(num_classes)]
    return [total / max(sum(totals), 1) for total in totals]


def label_findings(facts: Sequence[CaseFacts], class_names: Sequence[str], is_given: bool) -> list[Finding]:
    """Classes that are missing somewhere, empty masks, rare classes.

    Args:
        facts: of the sound cases.
        class_names: background first.
        is_given: whether somebody has said how many classes there are; or else the greatest value does.
    """
    counts = classes_per_split(facts, len(class_names))
    found = [] if is_given else _unnamed(facts, class_names)
    gaps = range(1, len(class_names)) if is_given else present_classes(facts)
    for value in (value for value in gaps if value > 0):
        found += _missing_class(counts, value, class_names[value])
    found += _empty_masks(facts)
    shares = class_shares(facts, len(class_names))
    rare = [value for value in range(1, len(class_names)) if 0 < shares[value] < _RARE]
    if rare:
        names = ", ".join(f"{class_names[value]} {shares[value]:.3%}" for value in rare)
        found.append(
            Finding(
                "warning",
                "rare class",
                f"Classes with less than {_RARE:.1%} of all pixels: {names}.",
                "Such a class is easily not learnt: look at its own Dice, and lower --empty_slice_rate for volumes.",
            )
        )
    return found


def _unnamed(facts: Sequence[CaseFacts], class_names: Sequence[str]) -> list[Finding]:
    values = present_classes(facts)
    listed = shortened(list(map(str, values)), 10)
    if len(values) <= max(values) / 2:
        number = f"--num_classes {len(values)}, if there are so many classes"
        return [
            Finding(
                "error",
                "class numbers",
                f"The label maps hold the values {listed}; expected classes 0, 1, 2, ... without gaps.",
                f"Say how many classes there are and check again ({number}), or renumber them.",
            )
        ]
    return [
        Finding(
            "note",
            "classes not named",
            f"The data set does not name its classes; its label maps hold {listed}.",
            f"Train with --num_classes {len(class_names)}, or with their names: --class_names \"['background',...]\".",
        )
    ]


def _missing_class(counts: dict[str, list[int]], value: int, name: str) -> list[Finding]:
    missing = [split for split, by_class in counts.items() if not by_class[value]]
    if not missing:
        return []
    what = f"No {' or '.join(missing)} case has class {value} ({name})."
    if {"training", UNSPLIT} & set(missing):
        return [
            Finding(
                "error",
                "class without training case",
                what,
                "It cannot be learnt: add cases, choose another split, or leave the class out.",
            )
        ]
    remedy = "Its metrics will be undefined there: choose another split."
    return [Finding("warning", "class missing in a split", what, remedy)]


def _empty_masks(facts: Sequence[CaseFacts]) -> list[Finding]:
    empty = [fact for fact in facts if fact.is_empty]
    if not empty:
        return []
    trained = [fact for fact in facts if fact.split in ("training", UNSPLIT)]
    files = tuple(files_of_label(fact.case)[0] for fact in empty)
    what = f"{len(empty)} of {len(facts)} label maps are empty."
    if trained and all(fact.is_empty for fact in trained):
        remedy = "There is nothing to learn: check that these are the label maps, and how they were saved."
        return [Finding("error", "empty masks", f"All label maps of training cases are empty; {what}", remedy, files)]
    severity = "warning" if len(empty) > _MOSTLY * len(facts) else "note"
    remedy = "Right for cases without a structure; or else correct them. --empty_slice_rate says how many are drawn."
    return [Finding(severity, "empty masks", what, remedy, files)]
