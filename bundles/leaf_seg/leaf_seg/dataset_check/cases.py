"""The cases to check, and where their split is from; nothing is written to the data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leaf_seg.data.groups import groups_of
from leaf_seg.data.layouts import Choices, read_layout
from leaf_seg.data.splits import DATALIST_NAME, SPLITS, SplitRule, Splits, kept_split
from leaf_seg.runtime.paths import FILE, absolute, kind_of

UNSPLIT = "unsplit"  # in the place of a split's name, where there is none yet


@dataclass(frozen=True)
class CheckedCases:
    """The cases of a data set.

    Attributes:
        splits: cases by split; all under :data:`UNSPLIT` where there is no split yet.
        split_from: where the split is from, in words.
        class_names: background first; None where the data set does not say.
        groups: patient, sequence or the like of images, by the image's path; empty where none is known.
    """

    splits: Splits
    split_from: str
    class_names: list[str] | None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def for_training(self) -> list[dict[str, str]]:
        """Those that settings may be chosen by."""
        return self.splits.get("training") or self.splits.get(UNSPLIT, [])


def cases_to_check(
    dataset_dir: str,
    datalist_file: str | None = None,
    choices: Choices = Choices(),  # noqa: B008  # it cannot be changed
    group_regex: str | None = None,
    group_file: str | None = None,
) -> CheckedCases:
    """The cases of a data set as a training would find them, but that no split is made.

    Args:
        dataset_dir: as of training.
        datalist_file: where a training has kept the split that it made.
        choices: where the data set leaves a choice.
        group_regex: as of :func:`~leaf_seg.data.load_datalist`.
        group_file: as of :func:`~leaf_seg.data.load_datalist`.

    Raises:
        InputError: As of :func:`~leaf_seg.data.load_datalist`.
    """
    layout = read_layout(dataset_dir, choices)
    every = [case for split in SPLITS for case in layout.splits[split]]
    groups = groups_of(every, layout.root, layout.groups, group_regex, group_file)
    kept = absolute(datalist_file) if datalist_file else layout.root / DATALIST_NAME
    splits, split_from = {UNSPLIT: every}, "none yet: training makes one at random, by group where groups are known"
    if layout.is_split:
        own = choices.split_file is None
        splits, split_from = layout.splits, "the data set's own" if own else Path(str(choices.split_file)).name
    elif kind_of(kept) == FILE:
        rule = SplitRule((0.7, 0.1, 0.2), 0, groups, layout.splits["testing"])
        splits, split_from = kept_split(layout.splits["training"], layout.root, kept, rule), kept.name
    return CheckedCases(splits, split_from, layout.class_names, groups)
