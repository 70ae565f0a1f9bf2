"""Settings of training that fit a data set, each with its reason; made of training cases only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leaf_seg.data.slicing import SLICE_AXES, slice_axis
from leaf_seg.data.structure_widths import WIDTH_KEPT, recommended_size
from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.image_findings import greatest_of_bits, is_dark, slice_shape
from leaf_seg.dataset_check.structure_findings import median_widths
from leaf_seg.image_io.grid import Grid

SUGGESTED_KEYS = ("image_size", "window", "axis", "num_slices", "max_epochs", "batch_size", "learning_rate")
_STEP, _SMALLEST, _LARGEST, _THIN_LARGEST = 32, 64, 256, 512  # pixels of a side
_PIXELS = 2**19  # in a batch
_STEPS = 3000  # of a training
_DEFAULT_BATCH, _DEFAULT_RATE = 32, 4e-4  # of train.json, which belong together
_ISOTROPIC = 1.5
_NEIGHBOURS = 3.0  # times the pixel's size, up to which the next slice shows the same structure


@dataclass(frozen=True)
class Suggestion:
    """A value for a key of ``train.json``, and why."""

    key: str
    value: Any
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def suggested_axis(grids: Sequence[Grid]) -> Suggestion:
    """The slicing direction, by the voxels of training volumes (RAS)."""
    sizes = np.array([ras_spacing(grid) for grid in grids if grid.is_volume])
    if not len(sizes):
        return Suggestion("axis", "axial", "pictures have no slicing direction; the default")
    middle = np.median(sizes, axis=0)
    coarsest = int(middle.argmax())
    names = {number: name for name, number in SLICE_AXES.items()}
    if middle.max() / middle.min() < _ISOTROPIC:
        return Suggestion("axis", "axial", "voxels are nearly cubes: no direction is better resolved; the default")
    ratio = middle[coarsest] / np.delete(middle, coarsest).mean()
    return Suggestion(
        "axis", names[coarsest], f"voxels are {ratio:.1f} times as long along it: slices across it are sharp"
    )


def base_size(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """A network's (H, W) for slices of these shapes: their median in multiples of 32, the longer side 64 to 256."""
    height, width = np.median(np.array(shapes), axis=0).tolist()
    scale = min(max(max(height, width), _SMALLEST), _LARGEST) / max(height, width)
    return _multiple(height * scale), _multiple(width * scale)


def _multiple(side: float) -> int:
    return _STEP * math.ceil(0.95 * side / _STEP)


def ras_spacing(grid: Grid) -> tuple[float, ...]:
    """Voxel size of a volume along right, front and up, whatever its voxel order is."""
    from nibabel.orientations import io_orientation

    order = io_orientation(grid.affine)[:, 0]
    return tuple(np.array(grid.spacing)[np.argsort(order)].tolist())


def suggest(
    facts: Sequence[CaseFacts], num_cases: int, axis: Suggestion, image_size: Sequence[int], given: Mapping[str, Any]
) -> list[Suggestion]:
    """Suggestions for all of :data:`SUGGESTED_KEYS`.

    Args:
        facts: of training cases, all or a sample.
        num_cases: for training, of which the facts may be a sample.
        axis: that is suggested.
        image_size: (H, W) at which the structures were measured.
        given: values of keys that somebody has chosen, which the others are to fit.
    """
    size = _given("image_size", given) or _image_size(facts, axis, image_size)
    number = slice_axis(axis.value)
    slices = round(sum(fact.shape[number] if fact.is_volume else 1 for fact in facts) * num_cases / len(facts))
    batch = _given("batch_size", given) or _batch_size(size.value, slices)
    rate = float(f"{_DEFAULT_RATE * math.sqrt(batch.value / _DEFAULT_BATCH):.1g}")
    reason = f"the default {_DEFAULT_RATE:g} is for batches of {_DEFAULT_BATCH}; it goes with the square root"
    return [
        size,
        _window(facts),
        axis,
        _num_slices(facts, number),
        _max_epochs(batch.value, slices),
        batch,
        Suggestion("learning_rate", rate, reason),
    ]


def _given(key: str, given: Mapping[str, Any]) -> Suggestion | None:
    return Suggestion(key, given[key], "as given") if key in given else None


def _image_size(facts: Sequence[CaseFacts], axis: Suggestion, measured_at: Sequence[int]) -> Suggestion:
    number = slice_axis(axis.value)
    native = np.median(np.array([slice_shape(fact, number) for fact in facts]), axis=0)
    shown = " x ".join(f"{side:.0f}" for side in native)
    reason = f"slices are {shown} as a median; multiples of {_STEP}, the longer side {_SMALLEST} to {_LARGEST}"
    widths = median_widths(facts)
    size = (int(measured_at[0]), int(measured_at[1]))
    if not widths or min(widths.values()) >= WIDTH_KEPT:
        return Suggestion("image_size", list(size), reason)
    thinnest = min(widths, key=lambda value: widths[value])
    wanted = recommended_size(size, widths[thinnest])
    most = min(max(_LARGEST, float(native.max())), _THIN_LARGEST)
    scale = min(1.0, most / max(wanted))
    larger = tuple(max(side, _multiple(want * scale)) for side, want in zip(size, wanted, strict=True))
    width = widths[thinnest] * larger[0] / size[0]
    reason = f"class {thinnest} is {widths[thinnest]:.1f} pixels wide at {list(size)}, and about {width:.1f} at this"
    return Suggestion("image_size", list(larger), reason)


def _window(facts: Sequence[CaseFacts]) -> Suggestion:
    if all(map(is_dark, facts)):
        greatest = max(fact.limits[3] for fact in facts)
        reason = f"values go to {greatest:g}, a small part of what the files can hold"
        return Suggestion("window", [0, greatest_of_bits(greatest)], reason)
    volumes = [fact for fact in facts if fact.is_volume]
    is_ct = volumes and np.median([fact.limits[0] for fact in volumes]) <= -500
    sample = np.concatenate([fact.foreground for fact in facts])
    if is_ct and len(sample):
        low, high = (10 * round(float(value) / 10) for value in np.percentile(sample, (0.5, 99.5)))
        if low < high:
            reason = "values begin at -500 or below, as Hounsfield units do; 99 % of the structures' values are in this"
            return Suggestion("window", [low, high], reason)
    scaled = "each volume by its own percentiles" if volumes else "pictures by what their files can hold"
    return Suggestion("window", None, f"no units are known that all images share: {scaled}")


def _num_slices(facts: Sequence[CaseFacts], number: int) -> Suggestion:
    volumes = [fact for fact in facts if fact.is_volume]
    if not volumes:
        return Suggestion("num_slices", 1, "pictures have no neighbours")
    if any(fact.channels > 1 for fact in volumes):
        return Suggestion("num_slices", 1, "the network sees three channels, and those of the files are as many")
    sizes = np.median(np.array([fact.spacing for fact in volumes]), axis=0)
    ratio = sizes[number] / np.delete(sizes, number).mean()
    if ratio <= _NEIGHBOURS:
        return Suggestion("num_slices", 3, f"the next slice is {ratio:.1f} pixels away and shows much of the same")
    return Suggestion("num_slices", 1, f"the next slice is {ratio:.1f} pixels away, too far to show the same")


def _batch_size(image_size: Sequence[int], slices: int) -> Suggestion:
    fitting = 2 ** int(math.log2(max(_PIXELS / math.prod(image_size), 1)))
    few = 2 ** int(math.log2(max(slices / 4, 1)))
    value = max(1, min(_DEFAULT_BATCH, max(fitting, 2), few))
    reason = f"about {_PIXELS / 2**20:g} million pixels in a batch" if value < _DEFAULT_BATCH else "the default fits"
    return Suggestion("batch_size", value, f"few training slices ({slices})" if value == few < fitting else reason)


def _max_epochs(batch_size: int, slices: int) -> Suggestion:
    steps = max(1, math.ceil(slices / batch_size))
    value = min(max(round(_STEPS / steps), 5), 300)
    return Suggestion(
        "max_epochs",
        value,
        f"about {value * steps} steps of {steps} an epoch; {_STEPS} are aimed at, in 5 to 300 epochs",
    )
