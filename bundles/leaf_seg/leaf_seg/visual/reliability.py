"""Reliability diagram: how often a confidence is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from leaf_seg.runtime.files import PathLike, replacing
from leaf_seg.visual.overlay import CLASS_COLOURS


def save_reliability(calibration: Mapping[str, Any], path: PathLike) -> None:
    """Draw, for every structure, accuracy over confidence and below it where the voxels are, into a PNG.

    Args:
        calibration: as :func:`~leaf_seg.metrics.summarize_calibration` returns it.
        path: PNG to write.
    """
    classes = calibration["classes"]
    figure = Figure(figsize=(3.2 * len(classes), 4.6), layout="constrained")
    grid = figure.subplots(2, len(classes), squeeze=False, sharex=True, height_ratios=(3, 1))
    for column, (name, result) in enumerate(classes.items()):
        colour = CLASS_COLOURS[column % len(CLASS_COLOURS)]
        upper, lower = grid[:, column]
        bins = result["bins"]
        edges = np.linspace(0, 1, len(bins["count"]) + 1)
        share = np.array(bins["count"]) / max(sum(bins["count"]), 1)
        filled = [i for i, count in enumerate(bins["count"]) if count]
        upper.plot((0, 1), (0, 1), color="0.6", linewidth=1, linestyle="--", label="calibrated")
        upper.plot(
            [bins["confidence"][i] for i in filled],
            [bins["accuracy"][i] for i in filled],
            color=colour,
            marker="o",
            markersize=4,
            label="measured",
        )
        ece = result["ece"]["mean"]
        upper.set_title(f"{name}\nECE {'undefined' if ece is None else format(ece, '.3f')}", fontsize=10)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        lower.bar(edges[:-1], share, width=np.diff(edges), align="edge", color=colour)
        lower.set(ylim=(0, 1), xlabel="confidence")
    grid[0, 0].set_ylabel("share that is right")
    grid[0, 0].legend(fontsize=8, loc="upper left", frameon=False)
    grid[1, 0].set_ylabel("share of voxels", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
