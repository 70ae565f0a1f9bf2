"""The cases of a data set, their split and the names of their classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leaf_seg.data.groups import groups_of, warn_of_leaks
from leaf_seg.data.label_coding import check_label_colors, names_in
from leaf_seg.data.layouts import Choices, read_layout
from leaf_seg.data.splits import DATALIST_NAME, SPLITS, Case, SplitRule, digest, kept_split
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import CLASSES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Datalist:
    """The cases of a data set.

    Attributes:
        training: cases, dictionaries with the absolute paths "image" and "label", and where several raters labelled the
            image "raters", a list of paths; training learns "label".
        validation: the same; may be empty.
        testing: the same; may be empty.
        class_names: background first; None where the data set does not say.
        sha256: digest of the case paths, relative to the data set, and their splits.
        folder: of the data set, absolute; ``/`` for cases that a program hands over.
        groups: patient, sequence or the like of images, by the image's path; empty where none is known.
    """

    training: list[Case]
    validation: list[Case]
    testing: list[Case]
    class_names: list[str] | None
    sha256: str
    folder: str = "/"
    groups: Mapping[str, str] = field(default_factory=dict)


def load_datalist(
    dataset_dir: str | None,
    datalist_file: str | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    *,
    split_file: str | None = None,
    fold: int | None = None,
    modality: str | None = None,
    group_regex: str | None = None,
    group_file: str | None = None,
) -> Datalist:
    """Read the cases of a data set and their split.

    A split that the data set gives (validation or testing cases, ``split.json``, folds) is used as it is; where it has
    a group in several parts, that is logged. Otherwise the sorted cases are shuffled by the seed and split, a group
    never between two parts; the split is written to ``datalist_file`` and used again from then on.

    Args:
        dataset_dir: a data set in one of the layouts of ``docs/data.md``: a folder, a .json or a .csv file. Test cases
            without a label are no part of it.
        datalist_file: where a split made here is kept, its paths relative to the data set. None is
            ``leaf_seg_datalist.json`` in the data set's folder.
        fractions: shares of training, validation and testing in a split made here; each gets at least one case.
        seed: of the shuffling.
        split_file: file that splits the cases in place of ``split.json``, in the data set's folder or by its path.
        fold: number of the fold that validates, where the data set has folds; None is 0.
        modality: name of the image that is taken, where a case has several.
        group_regex: regular expression whose first group, in an image's file name, is its patient or sequence.
        group_file: CSV with the columns image and group, in place of it.

    Raises:
        InputError: When no pairs are found, an image or label is missing, a split is inconsistent, fewer than three
            cases or groups are to be split, the kept split is of other cases, or it cannot be written; when a choice
            does not fit the data set.
    """
    layout = read_layout(dataset_dir, Choices(fold, modality, split_file))
    splits = layout.splits
    every = [case for split in SPLITS for case in splits[split]]
    groups = groups_of(every, layout.root, layout.groups, group_regex, group_file)
    if not layout.is_split:
        file = Path(os.path.expanduser(datalist_file)) if datalist_file else layout.root / DATALIST_NAME
        rule = SplitRule(fractions, seed, groups, splits["testing"])
        splits = kept_split(splits["training"], layout.root, file, rule)
    if groups:
        warn_of_leaks(splits, groups, layout.root)
    return Datalist(
        **splits,
        class_names=layout.class_names,
        sha256=digest(splits, layout.root),
        folder=str(layout.root),
        groups=groups,
    )


def given_cases(training: Sequence[Case], validation: Sequence[Case]) -> Datalist:
    """A datalist of cases that a program hands over, such as MONAI Label's ``monaibundle`` app.

    Args:
        training: cases with the absolute paths "image" and "label".
        validation: the same. With none, validation is on the training cases, which is logged: the metric then says how
            well they were learnt.

    Raises:
        InputError: When there are no training cases.
    """
    if not training:
        raise InputError(
            "There are no training cases; expected at least one. Give more labels, or a smaller share for validation."
        )
    if not validation:
        logger.warning("There are no validation cases: the validation metric is of the training cases.")
    splits = {"training": list(training), "validation": list(validation or training), "testing": []}
    sha256 = digest(splits, Path("/"))
    return Datalist(splits["training"], splits["validation"], [], class_names=None, sha256=sha256, folder="/")


def class_names(
    datalist: Datalist, num_classes: int | None, names: Sequence[str] | None = None, label_colors: Any = None
) -> list[str]:
    """Names of the classes, background first.

    Args:
        datalist: whose names are used where the data set gives them.
        num_classes: number of classes, background included; None takes it from the data set.
        names: those that a user gives, which are taken as they are.
        label_colors: colours of the classes; their number, and names where they have some, are those of the classes
            where nothing else gives them.

    Raises:
        InputError: When the data set says otherwise than ``num_classes``, and when neither gives the number.
    """
    if names:
        return list(names)
    if num_classes is not None:
        CLASSES.check(num_classes, "num_classes")
    own = datalist.class_names or names_in(label_colors)
    if own is None and num_classes is None and label_colors is not None:
        num_classes = len(check_label_colors(label_colors) or ())
    if own is None:
        if num_classes is None:
            raise InputError("The data set does not name its classes: add --num_classes N (background included).")
        return ["background", *(f"class_{number}" for number in range(1, num_classes))]
    if num_classes not in (None, len(own)):
        raise InputError(
            f"num_classes is {num_classes}, but the data set names {len(own)} classes ({', '.join(own)}): leave "
            "num_classes out, or correct the labels in dataset.json."
        )
    return list(own)


def split_cases(datalist: Datalist, split: str, num_cases: int | None = None) -> list[Case]:
    """The cases of one split.

    Args:
        datalist: whose cases.
        split: "training", "validation" or "testing".
        num_cases: take so many at most, at equal distances: neighbours are often of one patient. None: all.

    Raises:
        InputError: When the split is unknown or has no cases.
    """
    if split not in ("training", "validation", "testing"):
        raise InputError(f"split is {split!r}; expected training, validation or testing.")
    cases = getattr(datalist, split)
    if not cases:
        raise InputError(
            f"The dataset has no {split} cases; expected at least one. Add some to its split.json or datalist, or "
            "remove its split to have one made."
        )
    number = len(cases) if num_cases is None else min(num_cases, len(cases))
    return [cases[index * len(cases) // number] for index in range(number)]
