"""The cases to check, and where their split is from; nothing is written to the data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leaf_seg.data.datalists import DATALIST_NAME
from leaf_seg.data.layouts import read_layout
from leaf_seg.data.splits import SPLITS, Splits, kept_split
from leaf_seg.runtime.paths import FILE, absolute, kind_of

UNSPLIT = "unsplit"  # in the place of a split's name, where there is none yet


@dataclass(frozen=True)
class CheckedCases:
    """The cases of a data set.

    Attributes:
        splits: cases by split; all under :data:`UNSPLIT` where there is no split yet.
        split_from: where the split is from, in words.
        class_names: background first; None where the data set does not say.
    """

    splits: Splits
    split_from: str
    class_names: list[str] | None

    @property
    def for_training(self) -> list[dict[str, str]]:
        """Those that settings may be chosen by."""
        return self.splits.get("training") or self.splits.get(UNSPLIT, [])


def cases_to_check(dataset_dir: str, datalist_file: str | None = None, split_file: str | None = None) -> CheckedCases:
    """The cases of a data set as a training would find them, but that no split is made.

    Args:
        dataset_dir: as of training.
        datalist_file: where a training has kept the split that it made.
        split_file: a file such as ``split.json`` in the place of the data set's own split; a name alone may be one in
            the data set's folder.

    Raises:
        InputError: As of :func:`~leaf_seg.data.layouts.read_layout`.
    """
    if split_file is not None:
        beside = absolute(dataset_dir) / split_file
        file = str(beside) if kind_of(split_file) != FILE and kind_of(beside) == FILE else split_file
        layout = read_layout(dataset_dir, file)
        return CheckedCases(layout.splits, Path(file).name, layout.class_names)
    layout = read_layout(dataset_dir)
    if layout.is_split:
        return CheckedCases(layout.splits, "the data set's own", layout.class_names)
    kept = absolute(datalist_file) if datalist_file else layout.root / DATALIST_NAME
    if kind_of(kept) == FILE:
        splits = kept_split(layout.splits["training"], layout.root, kept, (0.7, 0.1, 0.2), 0)
        return CheckedCases(splits, kept.name, layout.class_names)
    cases = [case for split in SPLITS for case in layout.splits[split]]
    return CheckedCases({UNSPLIT: cases}, "none yet: training makes one at random, by case", layout.class_names)
