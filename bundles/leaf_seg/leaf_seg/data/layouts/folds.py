"""Folds of a cross-validation: MONAI's key ``fold``, nnU-Net's ``splits_final.json``."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leaf_seg.data.layouts.layout import Choices, Layout
from leaf_seg.data.layouts.names import composed
from leaf_seg.data.splits import Case
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)

NNUNET_SPLITS = "splits_final.json"


def with_folds(layout: Layout, choices: Choices) -> Layout:
    """The layout with one of its folds for validation, and the others for training.

    Args:
        layout: its own folds count before those of a ``splits_final.json`` in its folder.
        choices: the fold; with None fold 0, which is told, unless the data set has validation cases already.

    Raises:
        InputError: When there is no such fold, or it leaves no cases for training.
    """
    file, training = layout.root / NNUNET_SPLITS, layout.splits["training"]
    folds, source = [list(fold) for fold in layout.folds], "the list's folds"
    rest: Sequence[Sequence[Case]] | None = None
    if not folds and kind_of(file) == FILE and training:
        rest, folds = _read_splits_final(file, training)
        source = file.name
    if not folds:
        if choices.fold is not None:
            raise InputError(
                f"fold is {choices.fold}, but the data set {layout.root} has no folds (a key fold in its list, or "
                f"{NNUNET_SPLITS}): leave fold out."
            )
        return layout
    if choices.fold is None and layout.splits["validation"]:
        logger.warning("%s: %s are not used: it has a validation list. Choose one by --fold.", layout.root, source)
        return layout
    fold = choices.fold or 0
    if fold >= len(folds) or not folds[fold]:
        raise InputError(f"fold is {fold}, but {layout.root} has the folds 0 to {len(folds) - 1} in {source}.")
    held = {case["image"] for case in folds[fold]}
    others = [case for case in training if case["image"] not in held] if rest is None else list(rest[fold])
    if not others and choices.fold is None:
        logger.warning("%s: all cases are of fold %d, which is no split and not used.", layout.root, fold)
        return layout
    if not others:
        raise InputError(f"fold is {fold}, which holds all training cases of {layout.root}; expected other folds, too.")
    others += layout.splits["validation"]  # a fold that is asked for takes the place of the list's own
    logger.info("Fold %d of %s (%s) is for validation%s.", fold, layout.root, source, _hint(choices, len(folds)))
    return replace(layout, splits=layout.splits | {"training": others, "validation": folds[fold]}, is_split=True)


def _hint(choices: Choices, count: int) -> str:
    return f"; --fold 0 to {count - 1} chooses" if choices.fold is None else ""


def _read_splits_final(file: Path, training: Sequence[Case]) -> tuple[list[list[Case]], list[list[Case]]]:
    """Training and validation cases of each of nnU-Net's folds.

    Raises:
        InputError: When the file is no such list, names no cases of the data set, or one both for both.
    """
    content = read_json(file)
    parts = content if isinstance(content, list) else []
    if not parts or not all(map(_is_fold, parts)):
        raise InputError(f'{file}: expected nnU-Net\'s list of folds, [{{"train": [...], "val": [...]}}, ...].')
    cases = {composed(_identifier(case)): case for case in training}
    lists = [[[composed(str(name)) for name in part[key]] for part in parts] for key in ("train", "val")]
    unknown = [name for side in lists for names in side for name in names if name not in cases]
    if unknown:
        raise InputError(
            f"{file}: names {len(unknown)} cases that the data set does not have: {shortened(unknown)}. Expected names "
            f"such as {next(iter(cases))}; correct or remove the file."
        )
    both = [name for train, val in zip(*lists, strict=True) for name in set(train) & set(val)]
    if both:
        raise InputError(f"{file}: has {shortened(both)} both in train and in val of a fold; correct the file.")
    train, val = ([[cases[name] for name in names] for names in side] for side in lists)
    return train, val


def _is_fold(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(key), list) for key in ("train", "val"))


def _identifier(case: Case) -> str:
    """nnU-Net's name of a case: that of its label file, which has no channel at its end."""
    return case_name(os.path.basename(case["label"]))
