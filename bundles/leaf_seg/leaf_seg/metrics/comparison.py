"""Two evaluations of the same cases, side by side."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from leaf_seg.metrics.conventions import METRICS
from leaf_seg.metrics.summary import Interval, bootstrap_interval, mean_defined
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import aligned

MEAN_FOREGROUND = "mean foreground"
Table = dict[str, dict[str, dict[str, float]]]  # by metric, class and case


def read_cases(file: str | os.PathLike[str]) -> Table:
    """Read ``metrics_cases.csv`` of an evaluation; undefined values are nan.

    The mean over the classes of a case, undefined ones left out, is added as a class of its own.

    Raises:
        InputError: When the file is missing or is no such table.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"No file {path}; expected metrics_cases.csv of an evaluation. Evaluate the model first.")
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    if not rows or not {"case", "class", *METRICS} <= set(rows[0]):
        raise InputError(
            f"{path} is no table of an evaluation; expected the columns case, class, {', '.join(METRICS)}."
        )
    table: Table = {metric: {} for metric in METRICS}
    for row in rows:
        for metric in METRICS:
            table[metric].setdefault(row["class"], {})[row["case"]] = float(row[metric] or "nan")
    for classes in table.values():
        cases = {case for values in classes.values() for case in values}
        means = {
            case: mean_defined([values.get(case, np.nan) for values in classes.values()]) for case in sorted(cases)
        }
        classes[MEAN_FOREGROUND] = means
    return table


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
        InputError: When a file is missing, or cases or classes differ.
    """
    tables = [read_cases(Path(folder) / "metrics_cases.csv") for folder in (first, second)]
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
