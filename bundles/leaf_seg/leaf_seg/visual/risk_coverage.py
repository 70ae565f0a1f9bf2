"""Risk-coverage curve: how good the cases are that the model is most sure of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from leaf_seg.runtime.files import PathLike, replacing
from leaf_seg.visual.overlay import CLASS_COLOURS


def save_risk_coverage(found: Mapping[str, Any], path: PathLike) -> None:
    """Draw the mean of 1 - Dice over the share of cases that are kept, and that of a random order, into a PNG.

    Args:
        found: as :func:`~leaf_seg.metrics.risk_coverage` returns it.
        path: PNG to write.
    """
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(found["random"], color="0.6", linewidth=1, linestyle="--", label="random order")
    axes.plot(found["coverage"], found["risk"], color=CLASS_COLOURS[-1], marker=".", label="by expected Dice")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.1 * max(*found["risk"], found["random"], 1e-3)))
    axes.set(xlabel="share of the cases, most sure first", ylabel="mean of 1 - Dice")
    area = found["aurc"]
    axes.set_title(f"AURC {area['mean']:.3f} (random {found['random']:.3f}), n = {area['n']}", fontsize=10)
    axes.legend(fontsize=8, loc="best", frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
