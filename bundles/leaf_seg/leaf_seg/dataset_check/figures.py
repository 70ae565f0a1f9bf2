"""The figures of a report's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from leaf_seg.data.slicing import slice_axis, to_slices
from leaf_seg.data.splits import Case
from leaf_seg.data.structure_widths import WIDTH_KEPT
from leaf_seg.dataset_check.case_facts import CaseFacts, Loader, in_ras
from leaf_seg.dataset_check.image_findings import slice_shape
from leaf_seg.dataset_check.label_findings import classes_per_split
from leaf_seg.dataset_check.leakage import Pair
from leaf_seg.image_io.listing import case_name
from leaf_seg.transforms.scale_image import ScaleImage
from leaf_seg.visual.overlay import CLASS_COLOURS

_MOST_BOXES = 60  # cases in the figure of intensities


def classes_figure(facts: Sequence[CaseFacts], class_names: Sequence[str]) -> Figure:
    """Share of the cases of each split that have each class."""
    counts = classes_per_split(facts, len(class_names))
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(counts) * max(len(class_names) - 1, 1)), layout="constrained")
    axes = figure.subplots()
    rows = [(value, split) for value in range(1, len(class_names)) for split in counts]
    for place, (value, split) in enumerate(rows):
        number = sum(fact.split == split for fact in facts)
        axes.barh(place, counts[split][value] / max(number, 1), color=_colour(value))
        axes.text(0.01, place, f"{counts[split][value]} of {number}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{_short(class_names[value])}, {split}" for value, split in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the cases with the class")
    return figure


def sizes_figure(facts: Sequence[CaseFacts], axis: str, image_size: Sequence[int]) -> Figure:
    """Sizes of the slices, and the network's."""
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    axes = figure.subplots()
    shapes = np.array([slice_shape(fact, slice_axis(axis)) for fact in facts])
    unique, counts = np.unique(shapes, axis=0, return_counts=True)
    axes.scatter(
        unique[:, 1], unique[:, 0], s=20 + 200 * counts / counts.max(), alpha=0.5, color="#0072B2", label="slices"
    )
    axes.scatter(
        image_size[1], image_size[0], marker="x", s=80, color="#D55E00", label=f"image_size {list(image_size)}"
    )
    axes.set(xlabel="width, pixels", ylabel="height, pixels")
    axes.margins(0.15)
    axes.legend(fontsize=8)
    return figure


def intensities_figure(facts: Sequence[CaseFacts]) -> Figure:
    """Range of the intensities of each of some cases, evenly spaced."""
    chosen = facts[:: -(-len(facts) // _MOST_BOXES)]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    limits = np.array([fact.limits for fact in chosen])
    places = np.arange(len(chosen))
    axes.vlines(places, limits[:, 0], limits[:, 3], color="0.75", linewidth=1, label="least to greatest")
    axes.vlines(places, limits[:, 1], limits[:, 2], color="#0072B2", linewidth=3, label="0.5 % to 99.5 %")
    axes.set(xlabel=f"{len(chosen)} of {len(facts)} cases", ylabel="intensity in the file", xticks=[])
    axes.legend(fontsize=8)
    return figure


def widths_figure(facts: Sequence[CaseFacts], class_names: Sequence[str], image_size: Sequence[int]) -> Figure:
    """Widths of the structures at the image size, and what is kept."""
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.subplots()
    values = sorted({value for fact in facts for value in fact.structures.widths})
    widths = [[width for fact in facts for width in fact.structures.widths.get(value, [])] for value in values]
    greatest = max((max(of_class) for of_class in widths), default=1.0)
    for value, of_class in zip(values, widths, strict=True):
        edges = np.linspace(0, greatest, 40).tolist()
        axes.hist(
            of_class, bins=edges, histtype="step", color=_colour(value), linewidth=2, label=_short(class_names[value])
        )
    axes.axvline(WIDTH_KEPT, color="0.4", linestyle="--", linewidth=1, label=f"easily lost below {WIDTH_KEPT:g}")
    axes.set(xlabel=f"widest place, pixels at image_size {list(image_size)}", ylabel="sampled slices")
    axes.legend(fontsize=8)
    return figure


def cases_figure(cases: Sequence[Case], titles: Sequence[str], axis: str, num_classes: int, load: Loader) -> Figure:
    """Some cases, read again, with the outlines of their structures; of volumes the slice with most of them."""
    figure = Figure(figsize=(2.1 * len(cases), 2.5), layout="constrained")
    for axes, case, title in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, titles, strict=True):
        _draw_case(axes, load(case), axis, num_classes)
        axes.set_title(_short(title), fontsize=8)
    return figure


def pairs_figure(pairs: Sequence[Pair], axis: str, load: Loader) -> Figure:
    """Pairs of look-alikes, one above the other."""
    figure = Figure(figsize=(2.1 * len(pairs), 4.8), layout="constrained")
    grid = figure.subplots(2, len(pairs), squeeze=False)
    for column, pair in enumerate(pairs):
        for row, image in enumerate((pair.first, pair.second)):
            _draw_case(grid[row, column], load({"image": image}), axis, 0)
            grid[row, column].set_title(_short(f"{case_name(image)} ({pair.splits[row]})"), fontsize=8)
        grid[1, column].set_xlabel(f"{pair.similarity:.3f}", fontsize=8)
    return figure


def _draw_case(axes: Axes, loaded: dict[str, Any], axis: str, num_classes: int) -> None:
    is_volume, aspect = loaded["image"].ndim == 4, 1.0
    if is_volume:
        loaded = in_ras(loaded)
        first, second = np.delete(loaded["image"].pixdim.numpy(), slice_axis(axis))
        aspect = float(second / first)
    image = to_slices(ScaleImage("image")({"image": loaded["image"]})["image"].as_tensor(), axis)
    label = to_slices(loaded["label"].as_tensor(), axis) if "label" in loaded else None
    best = len(image) // 2 if label is None else int((label > 0).flatten(1).sum(dim=1).argmax())
    picture = _upright(np.moveaxis(image[best].numpy(), 0, -1), is_volume)
    axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1, aspect=aspect)
    if label is not None:
        shown = np.ma.masked_equal(_upright(label[best, 0].numpy(), is_volume), 0)
        colours = ListedColormap([_colour(value) for value in range(num_classes)])
        drawn = axes.imshow(shown, cmap=colours, alpha=0.4, aspect=aspect, interpolation="nearest")
        drawn.set_clim(-0.5, num_classes - 0.5)
    axes.set(xticks=[], yticks=[])


def _upright(plane: np.ndarray, is_volume: bool) -> np.ndarray:
    """Up to 400 rows and columns of a slice; of a volume front or top upwards, the patient's right on the left."""
    step = max(1, max(plane.shape[:2]) // 400)
    plane = plane[::step, ::step]
    return np.fliplr(np.rot90(plane)) if is_volume else plane


def _colour(value: int) -> str:
    return CLASS_COLOURS[(value - 1) % len(CLASS_COLOURS)]


def _short(text: str, limit: int = 28) -> str:
    """A title that fits, in which no character is a formula's."""
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return text.replace("$", r"\$")
