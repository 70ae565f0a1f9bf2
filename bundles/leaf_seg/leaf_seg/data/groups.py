"""Groups of cases that belong into one split: those of a patient, or frames of a sequence."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from leaf_seg.data.layouts.names import composed
from leaf_seg.data.layouts.table import read_rows
from leaf_seg.data.splits import SPLITS, Case
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import absolute
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)

Groups = Mapping[str, str]


def groups_of(
    cases: Sequence[Case], root: Path, own: Groups, group_regex: str | None, group_file: str | None
) -> dict[str, str]:
    """The group of each case that has one, by the image's path.

    Args:
        cases: of the data set.
        root: its folder.
        own: groups that the data set gives itself, which count where no other are asked for.
        group_regex: regular expression that is searched for in the image's file name, or where it has a ``/`` in the
            path below ``root``; its first group, or without one what it finds, is the case's group.
        group_file: CSV with the columns image (file name, name without suffix, or path below ``root``) and group.

    Raises:
        InputError: When both are given, the expression is none or fits some images not, or the table lacks some.
    """
    if group_regex is not None and group_file is not None:
        raise InputError("group_regex and group_file are given; expected one of them: leave one out.")
    if group_regex is not None:
        return _by_regex(cases, root, group_regex)
    return _by_table(cases, root, group_file) if group_file is not None else dict(own)


def _by_regex(cases: Sequence[Case], root: Path, group_regex: str) -> dict[str, str]:
    groups = groups_by_regex(cases, group_regex, root)
    unfit = [_below(case["image"], root) for case in cases if case["image"] not in groups]
    if unfit:
        raise InputError(
            f"group_regex is {group_regex!r}, which is not in {len(unfit)} of the names: {shortened(unfit)}. Expected "
            "it in each; its first group (...) is the patient or sequence. Correct it."
        )
    if len(set(groups.values())) < min(2, len(groups)):
        raise InputError(f"group_regex is {group_regex!r}: all images are of one group by it, so none can be apart.")
    return groups


def groups_by_regex(cases: Sequence[Case], group_regex: str, root: Path = Path("/")) -> dict[str, str]:
    """The groups of those cases whose names have what the expression describes, as of :func:`groups_of`.

    Raises:
        InputError: When it is no regular expression.
    """
    try:
        pattern = re.compile(group_regex)
    except re.error as error:
        raise InputError(f"group_regex is {group_regex!r}, which is no regular expression ({error}).") from error
    groups = {}
    for case in cases:
        name = _below(case["image"], root)
        match = pattern.search(name if "/" in group_regex else name.rsplit("/", 1)[-1])
        if match is not None:
            groups[case["image"]] = (match[1] if pattern.groups else match[0]) or ""
    return groups


def _by_table(cases: Sequence[Case], root: Path, group_file: str) -> dict[str, str]:
    rows = read_rows(absolute(group_file), ("image", "group"))
    table = {composed(row["image"].replace("\\", "/")): row.get("group", "") for row in rows}
    groups: dict[str, str] = {}
    for case in cases:
        below = composed(_below(case["image"], root))
        names = (below, below.rsplit("/", 1)[-1], composed(case_name(case["image"])))
        group = next((table[name] for name in names if table.get(name)), None)
        if group is not None:
            groups[case["image"]] = group
    lacking = [Path(case["image"]).name for case in cases if case["image"] not in groups]
    if lacking:
        raise InputError(
            f"{printable(group_file)}: has no group for {len(lacking)} images: {shortened(lacking)}. Expected a row "
            "for each, with the file's name under image. Add them."
        )
    return groups


def _below(image: str, root: Path) -> str:
    return Path(os.path.relpath(image, root)).as_posix()


def shared_groups(splits: Mapping[str, Sequence[Case]], groups: Groups) -> list[str]:
    """Groups that are in more than one split, sorted."""
    seen: dict[str, set[str]] = {}
    for split in SPLITS:
        for case in splits[split]:
            if case["image"] in groups:
                seen.setdefault(groups[case["image"]], set()).add(split)
    return sorted(group for group, where in seen.items() if len(where) > 1)


def warn_of_leaks(splits: Mapping[str, Sequence[Case]], groups: Groups, where: Path) -> None:
    """Log when a given split has a group in several of its parts."""
    shared = shared_groups(splits, groups)
    if shared:
        logger.warning(
            "%s: the split leaks: %d of %d groups (patients or sequences) are in more than one of its parts: %s. "
            "Figures on its test cases are too good.",
            where,
            len(shared),
            len(set(groups.values())),
            shortened(shared),
        )
