from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import torch

from leaf_seg.data.structure_widths import StructureWidths, recommended_size


def discs(*diameters: float, size: int = 64, value: int = 1) -> torch.Tensor:
    """Slices [S, 1, size, size] of one disc each."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    maps = [value * (np.hypot(y, x) <= diameter / 2) for diameter in diameters]
    return torch.from_numpy(np.stack(maps).astype(np.uint8))[:, None]


def widths_of(*stacks: torch.Tensor, factor: int = 1) -> StructureWidths:
    """Of slices that are seen at a size smaller by a factor."""
    side = stacks[0].shape[-1] // factor
    widths = StructureWidths((side, side))
    for stack in stacks:
        widths.add(stack, stack[:, :, ::factor, ::factor].numpy())
    return widths


@pytest.mark.parametrize("diameter", [1, 2, 3, 4, 5, 6, 7, 24, 25])
def test_of_discs_and_bars(diameter: int) -> None:
    assert widths_of(discs(diameter, size=64 - diameter % 2)).medians()[1] == pytest.approx(diameter, abs=2)
    bar = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    bar[..., 10 : 10 + diameter, 5:60] = 1  # as wide as it is thick, not as long
    assert widths_of(bar).medians()[1] == diameter


def test_whole_slice_has_its_width() -> None:
    assert widths_of(torch.ones(1, 1, 32, 32, dtype=torch.uint8)).medians() == {1: 32}


def test_median_over_the_slices_that_have_a_class() -> None:
    stack = torch.cat([discs(0, 10, 20, 30), discs(6, 0, value=3)])
    medians = widths_of(stack).medians()
    assert medians[1] == pytest.approx(20, abs=1.5)
    assert medians[3] == pytest.approx(6, abs=1.5)
    assert list(medians) == [1, 3]


def test_what_the_resizing_has_lost_counts() -> None:
    lost = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    lost[..., 33, 33] = 2
    assert widths_of(lost, factor=4).medians() == {2: 0.0}


def test_some_slices_of_a_stack_stand_for_it() -> None:
    stack = discs(*[20] * 100, size=48)
    widths = widths_of(stack)
    assert 4 <= len(widths._widths[1]) <= 8


def test_thin_structures_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        widths_of(discs(20), discs(3, value=2)).log()
    assert re.fullmatch(r"Widest place .*: class 1 [12]\d\.\d, class 2 \d\.\d pixels\.", caplog.messages[0])
    assert "Class 2 is thin at image_size [64, 64]" in caplog.messages[1]
    size = recommended_size((64, 64), widths_of(discs(3, value=2)).medians()[2])
    assert f'--image_size "{list(size)}"' in caplog.messages[1]


def test_no_warning_of_wide_ones_and_nothing_of_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        widths_of(discs(20)).log()
        widths_of(discs(0)).log()
    assert len(caplog.messages) == 1
    assert caplog.records[0].levelno == logging.INFO


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [((64, 64), 6, (64, 64)), ((64, 96), 4, (96, 160)), ((64, 64), 5.9, (96, 96)), ((64, 64), 0, (384, 384))],
)
def test_recommended_size(size: tuple[int, int], width: float, expected: tuple[int, int]) -> None:
    assert recommended_size(size, width) == expected
