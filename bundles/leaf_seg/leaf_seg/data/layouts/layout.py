"""What a layout gives: the cases of a data set, as its own files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leaf_seg.data.splits import SPLITS, Case, Splits


@dataclass(frozen=True)
class Choices:
    """What a user chooses where a data set leaves a choice.

    Attributes:
        fold: number of the fold that is for validation, where the data set has folds; None takes fold 0.
        modality: name of the image, where a case has several; None is an error there.
        split_file: file of a split, as ``split.json``; None takes ``split.json`` in the data set's folder, if any.
    """

    fold: int | None = None
    modality: str | None = None
    split_file: str | None = None


@dataclass(frozen=True)
class Layout:
    """What a data set's own files say.

    Attributes:
        name: of the layout, for the log.
        root: folder that its paths are relative to, absolute.
        splits: cases with absolute paths; all are "training" where the data set does not split them.
        class_names: background first; None where the data set does not say.
        is_split: whether the data set splits its cases; cases for testing may be set apart where it does not.
        groups: patient, sequence or the like of images, by the image's path, where the data set says; others are
            groups of their own.
        folds: cases of which each fold validates, where the data set has folds.
        modalities: of which :attr:`Choices.modality` chooses one; empty where images have one.
    """

    name: str
    root: Path
    splits: Splits
    class_names: list[str] | None = None
    is_split: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)
    folds: Sequence[Sequence[Case]] = ()
    modalities: Sequence[str] = ()


def in_splits(training: Sequence[Case] = (), validation: Sequence[Case] = (), testing: Sequence[Case] = ()) -> Splits:
    """The splits of some cases."""
    return dict(zip(SPLITS, map(list, (training, validation, testing)), strict=True))
