"""The results of an ablation as dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaf_seg.ablation.results import RowResult
from leaf_seg.ablation.rows import Table
from leaf_seg.ablation.table import label
from leaf_seg.runtime.files import PathLike, replacing

# What can be shown, by the attribute of a result: the axis' label.
SCORES = {
    "dice": "Dice, mean over cases with 95 % bootstrap interval",
    "ged": "generalised energy distance to all raters, lower is better; mean over cases with 95 % bootstrap interval",
}
_COLOUR = "#0072B2"
_ROW_INCHES, _PANEL_INCHES = 0.32, 0.8  # height of a row, and of what a panel has besides


def save_figure(tables: Sequence[Table], results: Mapping[str, RowResult], path: PathLike) -> None:
    """Draw the score of every row with its interval over cases, a panel for each table, into a PNG.

    Args:
        tables: with at least one row each.
        results: by name of the row; a row without one is marked as failed.
        path: PNG to write.

    Raises:
        InputError: When the file cannot be written.
    """
    heights = [_PANEL_INCHES + _ROW_INCHES * len(table.entries) for table in tables]
    figure = Figure(figsize=(9, sum(heights)), dpi=120, layout="constrained")
    grid = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)
    for axes, table in zip(grid[:, 0], tables, strict=True):
        _draw(axes, table, results)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _draw(axes: Axes, table: Table, results: Mapping[str, RowResult]) -> None:
    labels = []
    for position, entry in enumerate(table.entries):
        result = results.get(entry.row.name)
        several = f", N = {result.hypotheses:.0f}" if result and table.score == "ged" and result.ged.n else ""
        labels.append(label(entry) + (several if result else " (failed)"))
        if result:
            found = getattr(result, table.score)
            error = [[found.mean - found.low], [found.high - found.mean]]
            axes.errorbar(found.mean, position, xerr=error, fmt="o", color=_COLOUR, capsize=3)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(SCORES[table.score], fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)  # the first row on top
    axes.set_title(table.title, loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
