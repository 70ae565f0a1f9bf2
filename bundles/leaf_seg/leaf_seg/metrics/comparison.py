"""Two evaluations of the same cases, side by side."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np

from leaf_seg.metrics.conventions import METRICS
from leaf_seg.metrics.summary import Interval, bootstrap_interval, mean_defined
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import aligned, one_line

MEAN_FOREGROUND = "mean foreground"
MAX_DISTANCE = 1e6  # of a Hausdorff distance, in millimetres or pixels
Table = dict[str, dict[str, dict[str, float]]]  # by metric, class and case


def read_cases(file: str | os.PathLike[str]) -> Table:
    """Read ``metrics_cases.csv`` of an evaluation; undefined values are nan.

    The mean over the classes of a case, undefined ones left out, is added as a class of its own.

    Raises:
        InputError: When the file is missing or is no such table.
    """
    path = Path(file)
    if kind_of(path) != FILE:
        raise InputError(f"No file {path}; expected metrics_cases.csv of an evaluation. Evaluate the model first.")
    rows = _read_rows(path)
    if not rows or not {"case", "class", *METRICS} <= set(rows[0]):
        raise InputError(
            f"{path} is no table of an evaluation; expected the columns case, class, {', '.join(METRICS)}."
        )
    table: Table = {metric: {} for metric in METRICS}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _unfit(path, number, "fewer or more cells than the first row has columns")
        for metric in METRICS:
            values = table[metric].setdefault(row["class"], {})
            if row["case"] in values:
                raise _unfit(path, number, f"case {one_line(row['case'], 80)} a second time")
            values[row["case"]] = _metric(row[metric], metric, path, number)
    for classes in table.values():
        cases = {case for values in classes.values() for case in values}
        means = {
            case: mean_defined([values.get(case, np.nan) for values in classes.values()]) for case in sorted(cases)
        }
        classes[MEAN_FOREGROUND] = means
    return table


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            return list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as a table ({one_line(str(error))}); expected the CSV file in UTF-8 that an "
            "evaluation wrote. Evaluate the model again."
        ) from error


def _metric(cell: str, name: str, path: Path, row: int) -> float:
    """Value of a cell; nan where it is empty."""
    if not cell:
        return math.nan
    most = MAX_DISTANCE if name == "hd95" else 1.0
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise _unfit(path, row, f"{name} {one_line(cell, 80)!r}, which is no number from 0 to {most:g}")
    return value


def _unfit(path: Path, row: int, what: str) -> InputError:
    return InputError(
        f"{path}, row {row}, has {what}; expected the table as an evaluation wrote it. Evaluate the model again."
    )


def _tolerance(folder: Path) -> float | None:
    """Tolerance of the surface Dice that the summary beside the table names, if there is one."""
    path = folder / "metrics_summary.json"
    if kind_of(path) != FILE:
        return None
    try:
        tolerance = json.loads(path.read_text(encoding="utf-8")).get("tolerance")
        return None if tolerance is None else float(tolerance)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({one_line(str(error))}); expected the summary that an evaluation wrote. Evaluate "
            "the model again, or remove the file."
        ) from error


def paired_difference(first: dict[str, float], second: dict[str, float], seed: int = 0) -> Interval:
    """Mean over the cases of first - second, with a 95 % percentile bootstrap interval over the cases.

    Args:
        first: value of each case; nan is undefined, and a case with one is left out.
        second: values of the same cases.
        seed: of the bootstrap.

    Raises:
        InputError: When the cases are not the same.
    """
    if first.keys() != second.keys():
        alone = sorted(first.keys() ^ second.keys())
        raise InputError(
            f"The two evaluations are of different cases: {len(alone)} are in one of them only, such as {alone[0]}; "
            "expected the same split of the same data set."
        )
    return bootstrap_interval([first[case] - second[case] for case in first], seed=seed)


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> str:
    """Compare two evaluations case by case, as a text table.

    Args:
        first: folder of an evaluation, with ``metrics_cases.csv``.
        second: another one, of the same cases and classes.

    Raises:
        InputError: When a file is missing or unfit, or cases, classes or the tolerance differ.
    """
    tables = [read_cases(Path(folder) / "metrics_cases.csv") for folder in (first, second)]
    tolerances = [_tolerance(Path(folder)) for folder in (first, second)]
    if None not in tolerances and tolerances[0] != tolerances[1]:
        raise InputError(
            f"The surface Dice of {first} is at the tolerance {tolerances[0]:g}, that of {second} at "
            f"{tolerances[1]:g}; expected the same. Evaluate one of them again with the other's --surface_tolerance."
        )
    names = [list(table[METRICS[0]]) for table in tables]
    if names[0] != names[1]:
        raise InputError(f"The two evaluations have the classes {names[0]} and {names[1]}; expected the same.")
    lines: list[tuple[str, ...]] = [
        ("class", "metric", "first", "second", "first - second [95 % paired bootstrap]", "n")
    ]
    for name in names[0]:
        for metric in METRICS:
            left, right = (table[metric][name] for table in tables)
            difference = paired_difference(left, right)
            interval = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
            means = (f"{mean_defined(list(values.values())):.4f}" for values in (left, right))
            lines.append((name, metric, *means, interval, str(difference.n)))
    return aligned(lines)
