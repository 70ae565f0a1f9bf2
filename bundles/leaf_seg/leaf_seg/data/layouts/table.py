"""A table of cases: a CSV file with the columns image and label, and perhaps split, group and fold."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

from leaf_seg.data.layouts.datalist import read_datalist
from leaf_seg.data.layouts.layout import Choices, Layout
from leaf_seg.data.layouts.names import SPLIT_WORDS
from leaf_seg.data.splits import SPLITS
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import MAX_BYTES
from leaf_seg.runtime.text import one_line, shortened

logger = logging.getLogger(__name__)

_COLUMNS = {
    **dict.fromkeys(("image", "img", "image_path", "image_file", "filename", "file"), "image"),
    **dict.fromkeys(("label", "mask", "label_path", "mask_path", "label_file", "mask_file", "segmentation"), "label"),
    **dict.fromkeys(("split", "subset", "set", "partition"), "split"),
    **dict.fromkeys(("group", "patient", "patient_id", "subject", "sequence", "sequence_id"), "group"),
    "fold": "fold",
}

Rows = list[dict[str, str]]


def read_rows(path: Path, needed: Sequence[str]) -> Rows:
    """The rows of a CSV file in UTF-8, separated by commas, semicolons or tabs, by the columns that are known.

    Args:
        path: of the file.
        needed: columns that it must have.

    Returns:
        Dictionaries with some of "image", "label", "split", "group", "fold"; texts without spaces around them.

    Raises:
        InputError: When the file cannot be read, lacks a needed column, or has rows that lack it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 1024**2} MB")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        head = lines[0] if lines else ""
        delimiter = max(",;\t", key=head.count)
        table = [row for row in csv.reader(lines, delimiter=delimiter) if any(map(str.strip, row))]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({one_line(error)}). Correct or restore the file.") from error
    header = [_COLUMNS.get(cell.strip().lower(), "") for cell in (table[0] if table else [])]
    twice = [name for name in set(header) if name and header.count(name) > 1]
    lacking = [name for name in needed if name not in header]
    if lacking or twice:
        found = ", ".join(map(one_line, table[0])) if table else "(nothing)"
        raise InputError(
            f"{path}: its first line has the columns {found}; expected {', '.join(needed)}, each once"
            " (and split, group or fold, where there are such). Correct it."
        )
    passed = [cell.strip() for cell, name in zip(table[0], header, strict=True) if not name]
    if passed:
        logger.info("%s: the columns %s are not used.", path, shortened(passed))
    rows = [
        {name: cell.strip() for name, cell in zip(header, row, strict=False) if name and cell.strip()}
        for row in table[1:]
    ]
    wrong = [str(number) for number, row in enumerate(rows, 2) if needed[0] not in row]
    if wrong:
        raise InputError(f"{path}: the rows {shortened(wrong)} have no {needed[0]}; add or remove them.")
    return rows


def read_table(path: Path, choices: Choices) -> Layout:
    """The cases of a CSV file, whose paths are relative to its folder; test cases may be without a label.

    Raises:
        InputError: When rows lack label or split, splits have unknown names, or files are missing.
    """
    rows = read_rows(path, ("image", "label"))
    named = [row["split"] for row in rows if "split" in row]
    unknown = sorted({name for name in named if name.lower() not in SPLIT_WORDS})
    if unknown or (named and len(named) < len(rows)):
        found = f"the splits {shortened(unknown)}" if unknown else f"{len(rows) - len(named)} rows without a split"
        raise InputError(f"{path}: has {found}; expected train, val or test in each row. Correct them.")
    lists: dict[str, Rows] = {split: [] for split in SPLITS}
    for row in rows:
        lists[SPLIT_WORDS[row["split"].lower()] if "split" in row else "training"].append(row)
    unlabelled = [row["image"] for row in lists["testing"] if "label" not in row]
    if unlabelled:
        logger.info("%s: %d test cases have no label and are left out.", path, len(unlabelled))
        lists["testing"] = [row for row in lists["testing"] if "label" in row]
    content = {split: [_entry(row, path) for row in entries] for split, entries in lists.items()}
    layout = read_datalist(path, content, choices)
    return Layout(
        "table of cases",
        layout.root,
        layout.splits,
        is_split=bool(layout.splits["validation"]),
        groups=layout.groups,
        folds=layout.folds,
    )


def _entry(row: dict[str, str], path: Path) -> dict[str, str | int]:
    entry: dict[str, str | int] = {**row}
    if "fold" in row:
        if not row["fold"].isdigit():
            raise InputError(f"{path}: has the fold {one_line(row['fold'])}; expected whole numbers from 0 on.")
        entry["fold"] = int(row["fold"])
    return entry
