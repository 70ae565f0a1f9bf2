"""Pictures of segmentations for people to look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from leaf_seg.data.slicing import slice_axis
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.files import PathLike, replacing

# Okabe and Ito's palette, which colour-blind readers tell apart; brightest on grey and stained images first.
CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
DARK, LIGHT = "#101214", "#E8EAED"
PANEL_INCHES = 3.0  # longer side of a panel
MAX_PIXELS = 1024  # longer side of what is drawn into a panel; more is not seen and slow

# What points up and what left in a slice, as radiologists look at it.
DIRECTIONS = {"sagittal": ("S", "A"), "coronal": ("S", "R"), "axial": ("A", "R")}


def save_overlay(
    image: np.ndarray,
    pred: np.ndarray,
    path: PathLike,
    class_names: Sequence[str],
    label: np.ndarray | None = None,
    entropy: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    axis: str = "axial",
    confidence: np.ndarray | None = None,
    further: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Draw image, truth, prediction, entropy and more side by side into a PNG, titled with the case's name.

    A volume is shown in radiological orientation at the quartiles of its segmented slices, or at its middle slice when
    nothing is segmented.

    Args:
        image: picture [C, H, W] or volume [C, X, Y, Z] in RAS orientation, in [0, 1]; three channels are RGB, of any
            other number the first is shown.
        pred: predicted class indices [*spatial].
        path: PNG to write, named after the case.
        class_names: K names, background first.
        label: true class indices [*spatial].
        entropy: entropy of the probabilities [*spatial] in nats, drawn on a scale from 0 to ln K.
        spacing: voxel size along each axis of a volume; 1 unless given.
        axis: slicing direction of a volume: "sagittal", "coronal" or "axial".
        confidence: probability of the predicted class [*spatial], drawn with the outlines of prediction and truth.
        further: class indices [*spatial] by their titles, drawn as the prediction is.

    Raises:
        InputError: When the file cannot be written.
    """
    views = _views(pred, label, spacing, axis)
    backdrops = views.planes(np.moveaxis(image, 0, -1) if len(image) == 3 else image[0])
    layers = {"truth": label, "prediction": pred, **further, "entropy": entropy, "confidence": confidence}
    overlays = {title: array for title, array in layers.items() if array is not None}
    figure, grid = _figure(backdrops[0].shape, views.pixel_aspect, rows=len(backdrops), columns=1 + len(overlays))
    for axes, title in zip(grid[0], ("image", *overlays), strict=True):
        axes.set_title(title, color=LIGHT, fontsize=10)
    for axes, backdrop, caption in zip(grid[:, 0], backdrops, views.captions, strict=True):
        _draw_image(axes, backdrop, views.pixel_aspect)
        if caption:
            _mark_slice(axes, axis, caption)
    for column, (title, array) in enumerate(overlays.items(), start=1):
        for axes, backdrop, plane in zip(grid[:, column], backdrops, views.planes(array), strict=True):
            _draw_layer(axes, title, backdrop, plane, len(class_names), views.pixel_aspect)
    for classes, style in ((pred, "solid"), (label, "dotted")):
        if confidence is not None and classes is not None:  # in the last column
            _outline(grid[:, -1], views.planes(classes), len(class_names), style)

    figure.suptitle(case_name(path), color=LIGHT, fontsize=12)
    _add_legend(figure, class_names)
    with replacing(path) as temporary:
        figure.savefig(temporary, facecolor=DARK, bbox_inches="tight", pad_inches=0.15)


def _draw_layer(
    axes: Axes, title: str, backdrop: np.ndarray, plane: np.ndarray, num_classes: int, pixel_aspect: float
) -> None:
    """Draw a plane of a layer: a map of values, or classes over the image."""
    if title == "entropy":
        _draw_heat(axes, plane, "magma", math.log(num_classes), "nats", pixel_aspect)
    elif title == "confidence":
        _draw_heat(axes, plane, "gray", 1.0, "probability", pixel_aspect)
    else:
        _draw_image(axes, backdrop, pixel_aspect)
        _draw_classes(axes, plane, num_classes, pixel_aspect)


@dataclass(frozen=True)
class _Views:
    """The planes of a case that are shown, one to a row.

    Attributes:
        captions: what each row shows; empty for a picture.
        pixel_aspect: height over width of a pixel.
        axis: array axis across the slices; None for a picture.
        indices: the slices shown.
    """

    captions: Sequence[str] = ("",)
    pixel_aspect: float = 1.0
    axis: int | None = None
    indices: Sequence[int] = ()

    def planes(self, array: np.ndarray) -> list[np.ndarray]:
        """Cut [*spatial] or [*spatial, 3] into planes [H, W] or [H, W, 3]."""
        planes = [array]
        if self.axis is not None:
            # [x, y] to rows and columns; superior or anterior up; the patient's right, or anterior, on the left
            planes = [np.take(array, i, axis=self.axis).swapaxes(0, 1)[::-1, ::-1] for i in self.indices]
        step = math.ceil(max(planes[0].shape[:2]) / MAX_PIXELS)
        return [plane[::step, ::step] for plane in planes]


def _views(pred: np.ndarray, label: np.ndarray | None, spacing: Sequence[float] | None, axis: str) -> _Views:
    """Choose what to show of a case."""
    if pred.ndim == 2:
        return _Views()
    across = slice_axis(axis)
    in_plane = [a for a in range(3) if a != across]
    segmented = pred > 0 if label is None else (pred > 0) | (label > 0)
    occupied = np.flatnonzero(segmented.any(axis=tuple(in_plane)))
    if len(occupied):
        indices = sorted({int(i) for i in np.quantile(occupied, (0.25, 0.5, 0.75), method="nearest")})
    else:
        indices = [pred.shape[across] // 2]
    width, height = (1.0 if spacing is None else float(spacing[a]) for a in in_plane)
    captions = [f"{axis} {i + 1} / {pred.shape[across]}" for i in indices]
    return _Views(captions, height / width, across, indices)


def _figure(shape: Sequence[int], pixel_aspect: float, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Empty figure with room for planes of this shape, and its axes [rows, columns]."""
    ratio = float(np.clip(shape[0] * pixel_aspect / shape[1], 0.3, 3))
    width, height = PANEL_INCHES / max(ratio, 1), PANEL_INCHES * min(ratio, 1)
    # Room beside the panels for title, legend and captions; what is left over is cut off when saving.
    figure = Figure(figsize=(columns * width + 1, rows * height + 1), dpi=150, layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure, grid


def _draw_image(axes: Axes, plane: np.ndarray, pixel_aspect: float) -> None:
    """Draw a grey [H, W] or RGB [H, W, 3] plane in [0, 1]."""
    axes.imshow(np.clip(plane, 0, 1), cmap="gray", vmin=0, vmax=1, aspect=pixel_aspect, interpolation="bilinear")


def _draw_classes(axes: Axes, plane: np.ndarray, num_classes: int, pixel_aspect: float) -> None:
    """Lay the classes over an image: filled half transparent, with an outline."""
    colours = class_colours(num_classes)
    plane = plane.astype(int)
    axes.imshow((colours * (1, 1, 1, 0.35))[plane], aspect=pixel_aspect, interpolation="nearest")
    _outline([axes], [plane], num_classes, "solid")


def _outline(column: Iterable[Axes], planes: Iterable[np.ndarray], num_classes: int, style: str) -> None:
    """Draw the outlines of the classes of each plane into its axes."""
    colours = class_colours(num_classes)
    for axes, plane in zip(column, planes, strict=True):
        for index in np.unique(plane[plane > 0]).astype(int):
            mask = plane == index
            if not mask.all():
                axes.contour(mask, levels=[0.5], colors=[colours[index]], linewidths=1.2, linestyles=style)


def _draw_heat(axes: Axes, plane: np.ndarray, colours: str, greatest: float, unit: str, pixel_aspect: float) -> None:
    """Draw values on the scale of those that are possible, so that cases can be compared, with a colour bar."""
    heat = axes.imshow(plane, cmap=colours, vmin=0, vmax=greatest, aspect=pixel_aspect)
    bar = axes.figure.colorbar(heat, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
    bar.set_label(unit, color=LIGHT, fontsize=8)
    bar.ax.tick_params(colors=LIGHT, labelsize=7)
    bar.outline.set_visible(False)


def class_colours(num_classes: int) -> np.ndarray:
    """One RGBA colour for each class [K, 4]; the background's is transparent."""
    if num_classes - 1 <= len(CLASS_COLOURS):
        foreground = [to_rgba(colour) for colour in CLASS_COLOURS[: num_classes - 1]]
    else:
        foreground = list(colormaps["gist_rainbow"](np.linspace(0, 1, num_classes - 1)))
    return np.array([(0, 0, 0, 0), *foreground])


def _mark_slice(axes: Axes, axis: str, caption: str) -> None:
    """Write the slice's place beside it and the anatomical directions at its upper and left edge."""
    axes.set_ylabel(caption, color=LIGHT, fontsize=8)
    up, left = DIRECTIONS[axis]
    outline = [withStroke(linewidth=2, foreground=DARK)]
    for x, y, text in ((0.5, 0.95, up), (0.05, 0.5, left)):
        axes.text(
            x, y, text, transform=axes.transAxes, ha="center", va="center", color=LIGHT, size=9, path_effects=outline
        )


def _add_legend(figure: Figure, class_names: Sequence[str]) -> None:
    """Name the colours of the foreground classes below the panels."""
    colours = class_colours(len(class_names))
    handles = [Patch(color=c, label=name) for c, name in zip(colours[1:], class_names[1:], strict=True)]
    columns = max(1, int(figure.get_figwidth() // 1.5))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), columns),
        frameon=False,
        labelcolor=LIGHT,
        fontsize=9,
    )
