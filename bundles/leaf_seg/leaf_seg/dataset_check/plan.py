"""How the cases of a data set are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from leaf_seg.data.slicing import slice_axis, slice_directions
from leaf_seg.data.splits import Case
from leaf_seg.dataset_check.suggestions import Suggestion, base_size, suggested_axis
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.reading import read_grid
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError

MOST_SAMPLED = 200  # training cases by which settings are suggested


@dataclass
class Plan:
    """How cases are measured.

    Attributes:
        axis: slicing direction.
        image_size: (H, W).
        given: values of keys that somebody has chosen, which suggestions are to fit.
    """

    axis: Suggestion
    image_size: tuple[int, int]
    given: Mapping[str, Any]


def plan_for(cases: Sequence[Case], given: Mapping[str, Any], reading: ReadingOptions = DEFAULT_READING) -> Plan:
    """How cases are to be measured.

    Args:
        cases: for training, of which a sample's headers are looked at.
        given: values of keys of ``train.json`` that somebody has chosen.
        reading: how files are read.
    """
    grids = [grid for case in sample_of(cases) if (grid := _grid(case, reading)) is not None]
    axis = suggested_axis(grids)
    if "axis" in given:
        axis = Suggestion("axis", slice_directions(given["axis"])[0], "as given")
    if "image_size" in given:
        height, width = given["image_size"]
        return Plan(axis, (height, width), given)
    shapes = [_slice_of(grid, slice_axis(axis.value)) for grid in grids]
    return Plan(axis, base_size(shapes) if shapes else (64, 64), given)


def sample_of(cases: Sequence[Case]) -> list[Case]:
    """Up to :data:`MOST_SAMPLED` cases, evenly spaced: always the same."""
    count = min(len(cases), MOST_SAMPLED)
    return [cases[index * len(cases) // count] for index in range(count)]


def _grid(case: Case, reading: ReadingOptions) -> Grid | None:
    with suppress(InputError):
        return read_grid(case["image"], reading)
    return None


def _slice_of(grid: Grid, axis: int) -> tuple[int, int]:
    if not grid.is_volume:
        return grid.shape[0], grid.shape[1]
    from nibabel.orientations import io_orientation

    order = np.argsort(io_orientation(grid.affine)[:, 0])
    sides = np.delete(np.array(grid.shape)[order], axis).tolist()
    return sides[0], sides[1]
