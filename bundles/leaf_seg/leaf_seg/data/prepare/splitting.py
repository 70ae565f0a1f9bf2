"""Writes the published split of a data set, and where that leaks an honest one beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from leaf_seg.data.groups import shared_groups
from leaf_seg.data.prepare.source import FoundData, Source
from leaf_seg.data.splits import SPLITS, Case, SplitRule, Splits, make_split

logger = logging.getLogger(__name__)

SPLIT_NAME, BY_GROUP_NAME = "split.json", "split_by_group.json"
_SEED = 0
_SHARES = (0.8, 0.1, 0.1)  # of an honest split where the published one has no counts for all parts


def write_splits(source: Source, data: FoundData, cases: Sequence[Case], folder: Path) -> None:
    """Write ``split.json``, and ``split_by_group.json`` where a group is in several parts of it.

    A data set without a published split gets none of the first: it is split when it is used.

    Args:
        source: the data set.
        data: what was found of it.
        cases: the same cases, as they were written.
        folder: of the prepared data set.
    """
    pairs = list(zip(data.cases, cases, strict=True))
    groups = {case["image"]: found.group for found, case in pairs if found.group is not None}
    if any(found.split for found, _ in pairs):
        splits: Splits = {split: [case for found, case in pairs if found.split == split] for split in SPLITS}
        if not splits["validation"] and source.validation_share and len(splits["training"]) > 1:
            testing = len(splits["testing"]) / len(cases)
            validation = (1 - testing) * source.validation_share
            rule = SplitRule((1 - testing - validation, validation, testing), _SEED, groups, splits["testing"])
            splits = make_split(splits["training"], folder, rule)
    elif source.random_split:
        whole = sum(source.random_split.values())
        splits = make_split(cases, folder, SplitRule([source.random_split[split] / whole for split in SPLITS], _SEED))
    else:
        return
    _write(splits, folder / SPLIT_NAME)
    shared = shared_groups(splits, groups)
    if shared:
        honest = make_split(cases, folder, SplitRule(_SHARES, _SEED, groups))
        _write(honest, folder / BY_GROUP_NAME)
        logger.warning(
            "%s leaks: %d of %d groups (patients or sequences) are in more than one of its parts; %s has none: "
            "--split_file %s.",
            SPLIT_NAME,
            len(shared),
            len(set(groups.values())),
            BY_GROUP_NAME,
            BY_GROUP_NAME,
        )


def _write(splits: Splits, file: Path) -> None:
    names = {split: sorted(Path(case["image"]).name for case in splits[split]) for split in SPLITS}
    file.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
