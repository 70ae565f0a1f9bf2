"""Two evaluations of the same cases, side by side."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from leaf_seg.metrics.conventions import BASIC_METRICS, DISTANCES, METRICS
from leaf_seg.metrics.summary import Interval, bootstrap_interval, mean_defined
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import aligned, one_line, shortened

MEAN_FOREGROUND = "mean foreground"
MAX_DISTANCE = 1e6  # of a Hausdorff distance, in millimetres or pixels
_DIFFERENCE = "first - second [95 % paired bootstrap]"
_COLUMNS = ("metric", "first", "second", _DIFFERENCE, "median", "better first/tie/second", "Wilcoxon p", "n")
_WORDS = ((0, "first"), (1, "second"))
Table = dict[str, dict[str, dict[str, float]]]  # by metric, class and case


def read_cases(file: str | os.PathLike[str]) -> Table:
    """Read ``metrics_cases.csv`` of an evaluation; undefined values are nan.

    Metrics that version 0.2.0 did not have may be missing.

    The mean over the classes of a case, undefined ones left out, is added as a class of its own.

    Raises:
        InputError: When the file is missing or is no such table.
    """
    path = Path(file)
    if kind_of(path) != FILE:
        raise InputError(f"No file {path}; expected metrics_cases.csv of an evaluation. Evaluate the model first.")
    rows = _read_rows(path)
    if not rows or not {"case", "class", *BASIC_METRICS} <= set(rows[0]):
        raise InputError(
            f"{path} is no table of an evaluation; expected the columns case, class, {', '.join(BASIC_METRICS)}."
        )
    metrics = [metric for metric in METRICS if metric in rows[0]]
    table: Table = {metric: {} for metric in metrics}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _unfit(path, number, "fewer or more cells than the first row has columns")
        for metric in metrics:
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
    most = MAX_DISTANCE if name in DISTANCES else 1.0
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


def _tolerance(folder: Path) -> str | None:
    """Tolerance of the surface Dice that the summary beside the table names, if there is one."""
    path = folder / "metrics_summary.json"
    if kind_of(path) != FILE:
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        tolerance, share = summary.get("tolerance"), summary.get("tolerance_share")
        if share is not None:
            return f"{float(share):g} of the diagonal"
        return None if tolerance is None else f"{float(tolerance):g}"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({one_line(str(error))}); expected the summary that an evaluation wrote. Evaluate "
            "the model again, or remove the file."
        ) from error


@dataclass(frozen=True)
class Comparison:
    """What the differences first - second of the cases say, besides their mean.

    Attributes:
        median: nan where there is no difference.
        wins: number of cases in which the first is better, both are the same, and the second is better.
        p: of Wilcoxon's signed-rank test, two-sided; 1 where all differences are 0, nan where there is none.
    """

    median: float
    wins: tuple[int, int, int]
    p: float


def paired_difference(first: dict[str, float], second: dict[str, float], seed: int = 0) -> Interval:
    """Mean over the common cases of first - second, with a 95 % percentile bootstrap interval over the cases.

    Args:
        first: value of each case; nan is undefined, and a case with one is left out.
        second: values of the same cases; cases that one of the two lacks are left out.
        seed: of the bootstrap.
    """
    return bootstrap_interval(_differences(first, second), seed=seed)


def paired_comparison(first: dict[str, float], second: dict[str, float], lower_is_better: bool = False) -> Comparison:
    """Medians, wins and signed ranks of the same differences as in :func:`paired_difference`.

    Args:
        first: value of each case; nan is undefined.
        second: values of the same cases.
        lower_is_better: as of distances.
    """
    differences = _differences(first, second).round(9)  # so that rounding makes no win and breaks no tie
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    if lower_is_better:
        better, worse = worse, better
    return Comparison(
        median=float(np.median(differences)) if len(differences) else math.nan,
        wins=(better, len(differences) - better - worse, worse),
        p=_signed_rank_p(differences),
    )


def _differences(first: dict[str, float], second: dict[str, float]) -> np.ndarray:
    """First - second of the cases in which both are defined."""
    differences = np.array([first[case] - second[case] for case in first if case in second], dtype=np.float64)
    return differences[~np.isnan(differences)]


def _signed_rank_p(differences: np.ndarray) -> float:
    if not len(differences):
        return math.nan
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> str:
    """Compare two evaluations case by case, as a text table, and what of them is not compared in lines below it.

    Args:
        first: folder of an evaluation, with ``metrics_cases.csv``.
        second: another one, of the same classes and some common cases.

    Raises:
        InputError: When a file is missing or unfit, no case is common, or classes or the tolerance differ.
    """
    tables = [read_cases(Path(folder) / "metrics_cases.csv") for folder in (first, second)]
    tolerances = [_tolerance(Path(folder)) for folder in (first, second)]
    if None not in tolerances and tolerances[0] != tolerances[1]:
        raise InputError(
            f"The surface Dice of {first} is at the tolerance {tolerances[0]}, that of {second} at {tolerances[1]}; "
            "expected the same. Evaluate one of them again with the other's --surface_tolerance or "
            "--surface_tolerance_share."
        )
    names = [list(table["dice"]) for table in tables]
    if names[0] != names[1]:
        raise InputError(f"The two evaluations have the classes {names[0]} and {names[1]}; expected the same.")
    notes = [*_left_out_cases(*tables), *_left_out_metrics(*tables)]
    lines: list[tuple[str, ...]] = [("class", *_COLUMNS)]
    for name in names[0]:
        for metric in (metric for metric in tables[0] if metric in tables[1]):
            lines.append((name, *_cells(metric, *(table[metric][name] for table in tables))))
    return "\n".join([aligned(lines), *notes])


def _cells(metric: str, first: dict[str, float], second: dict[str, float]) -> tuple[str, ...]:
    """A row of the table, behind the class."""
    mean, found = paired_difference(first, second), paired_comparison(first, second, metric in DISTANCES)
    means = [mean_defined([values[case] for case in first if case in second]) for values in (first, second)]
    return (
        metric,
        *(f"{value:.4f}" for value in means),
        f"{mean.mean:+.4f} [{mean.low:+.4f}, {mean.high:+.4f}]",
        f"{found.median:+.4f}",
        "/".join(map(str, found.wins)),
        "-" if math.isnan(found.p) else f"{found.p:.2g}",
        str(mean.n),
    )


def _left_out_cases(first: Table, second: Table) -> list[str]:
    """A line on the cases that are in one table only."""
    cases = [table["dice"][MEAN_FOREGROUND] for table in (first, second)]
    alone = [sorted(cases[i].keys() - cases[1 - i].keys()) for i in range(2)]
    common = len(cases[0]) - len(alone[0])
    if not common:
        raise InputError(
            f"The two evaluations have no case in common: {shortened(cases[0], 2)} and {shortened(cases[1], 2)}; "
            "expected evaluations of the same data set."
        )
    only = [f"{len(alone[i])} only in the {word}, such as {alone[i][0]}" for i, word in _WORDS if alone[i]]
    return [f"Compared are the {common} common cases; {'; '.join(only)}."] if only else []


def _left_out_metrics(first: Table, second: Table) -> list[str]:
    """A line on the metrics that are in one table only."""
    alone = [sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())]
    return [
        f"Not compared: {', '.join(alone[i])}, which only the {word} has; evaluate the other model again."
        for i, word in _WORDS
        if alone[i]
    ]
