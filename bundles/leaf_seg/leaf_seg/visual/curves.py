"""Loss and metric curves of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaf_seg.runtime.files import replacing
from leaf_seg.visual.overlay import CLASS_COLOURS

Rows = Sequence[dict[str, float]]

_LOSSES = {"loss": "total", "loss_prediction": "prediction", "loss_alignment": "alignment"}
_BINS = 400  # points of a curve; more are not seen


def save_curves(path: Path, losses: Rows, metrics: Rows) -> None:
    """Draw losses and learning rate over the steps, and the validation metrics beside them, into a PNG.

    Args:
        path: PNG to write.
        losses: rows with "step", "loss", "learning_rate" and where features are distilled the parts of the loss.
        metrics: rows with "step" and one column for each metric in [0, 1]; the numbers "val_num_*" are not drawn.

    Raises:
        InputError: When the file cannot be written.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_losses(left, losses)
    _draw_metrics(right, metrics)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_losses(axes: Axes, rows: Rows) -> None:
    axes.set(title="Training loss", xlabel="step", ylabel="loss (mean of neighbouring steps)")
    rate = axes.twinx()
    rate.set_ylabel("learning rate", color="0.5")
    rate.tick_params(axis="y", colors="0.5")
    if not rows:
        return
    steps = np.array([row["step"] for row in rows])
    bins = np.array_split(np.arange(len(rows)), min(_BINS, len(rows)))
    places = [steps[chunk].mean() for chunk in bins]
    names = [name for name in _LOSSES if name in rows[0]]
    for name, colour in zip(names, CLASS_COLOURS[1:], strict=False):
        values = np.array([row[name] for row in rows])
        axes.plot(places, [values[chunk].mean() for chunk in bins], color=colour, label=_LOSSES[name])
    rate.plot(steps, [row["learning_rate"] for row in rows], color="0.7", linewidth=1)
    axes.set_zorder(rate.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.legend(loc="upper right", framealpha=0.9)
    axes.grid(alpha=0.25)


def _draw_metrics(axes: Axes, rows: Rows) -> None:
    axes.set(title="Validation", xlabel="step", ylabel="metric")
    places = ("step", "epoch", "seconds")
    names = [name for name in (rows[0] if rows else {}) if name not in places and not name.startswith("val_num_")]
    for index, name in enumerate(names):
        colour = "black" if index == 0 else CLASS_COLOURS[(index - 1) % len(CLASS_COLOURS)]
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], "o-", color=colour, ms=4, label=name)
    if names:
        best = max(rows, key=lambda row: row[names[0]])
        axes.annotate(
            f"best {best[names[0]]:.3f}",
            (best["step"], best[names[0]]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="right",
        )
        axes.margins(y=0.15)
        axes.legend(frameon=False)
    axes.grid(alpha=0.25)
