"""The results of an ablation as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from leaf_seg.ablation.results import RowResult
from leaf_seg.ablation.rows import Entry, Table
from leaf_seg.metrics import Interval

NONE = "-"
_COLUMNS = ("Dice", "IoU", "std, noise seeds", "n", "training seeds", "std, training seeds", "steps", "minutes")


def markdown(
    tables: Sequence[Table],
    results: Mapping[str, RowResult],
    failed: Mapping[str, Sequence[int]],
    facts: Mapping[str, str],
    figure: str,
) -> str:
    """Write the tables.

    Args:
        tables: to write.
        results: by name of the row.
        failed: training seeds that failed, by name of the row.
        facts: what is worth stating of the whole, such as the data set.
        figure: file of the figure, relative to the Markdown's.
    """
    parts = ["# Ablation", "\n".join(f"- {name}: {value}" for name, value in facts.items()), _NOTES]
    parts += [f"## {table.title}\n\n{_table(table, results, failed)}" for table in tables]
    return "\n\n".join([*parts, f"![Dice of each row with its interval]({figure})"]) + "\n"


_NOTES = """\
Dice and IoU are means over cases of the mean over foreground classes, at native size, with a 95 % bootstrap interval
over cases; with several training seeds each case is averaged over them first, and their standard deviation (ddof = 1)
stands in a column of its own. "std, noise seeds" is the standard deviation (ddof = 1) of the mean Dice over noise
seeds, one model, one hypothesis each. Minutes are those of training, validations included. Each checkpoint was
chosen on the validation split; nothing was chosen on the split reported here, and nothing should be chosen by this
table.

The tables of the paper (Huang et al., MICCAI 2025) are of other data (REFUGE2, CVC-ClinicDB, QaTa-COV19, ISIC 2018),
networks and lengths of training: these numbers are to be compared with each other, not with the paper's."""


def label(entry: Entry) -> str:
    """What an entry is, in one line."""
    return entry.title or ", ".join(f"{short(key)} {value}" for key, value in entry.values.items()) or entry.row.name


def short(key: str) -> str:
    """Last part of a config key."""
    return key.rsplit("#")[-1]


def _table(table: Table, results: Mapping[str, RowResult], failed: Mapping[str, Sequence[int]]) -> str:
    keys = table.keys or ["row"]
    lines = [[*map(short, keys), *_COLUMNS]]
    for entry in table.entries:
        first = [str(entry.values.get(key, NONE)) for key in keys] if entry.values else [entry.row.name]
        first += [NONE] * (len(keys) - len(first))
        name = entry.row.name
        lines.append([*first, *_cells(results.get(name), failed.get(name, ()))])
    return as_rows(lines)


def as_rows(lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; the first line is its header."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    rows.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(rows)


def _cells(result: RowResult | None, failed: Sequence[int]) -> list[str]:
    """The cells of :data:`_COLUMNS`."""
    failures = f"{', '.join(map(str, failed))} failed" if failed else ""
    if result is None:
        return [failures and "failed", *[NONE] * 3, failures, *[NONE] * 3]
    seeds = ", ".join(map(str, result.seeds))
    return [
        interval_text(result.dice),
        interval_text(result.iou),
        number_text(result.noise_std, ".5f"),
        str(result.dice.n),
        f"{seeds} ({failures})" if failures else seeds,
        number_text(result.training_std, ".4f"),
        number_text(result.steps, ".0f"),
        number_text(result.minutes, ".1f"),
    ]


def interval_text(interval: Interval, form: str = ".3f") -> str:
    """``0.912 [0.897, 0.925]``; one value has no interval."""
    if math.isnan(interval.low):
        return number_text(interval.mean, form)
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def number_text(value: float, form: str) -> str:
    """The number; a dash where it is undefined."""
    return NONE if math.isnan(value) else f"{value:{form}}"
