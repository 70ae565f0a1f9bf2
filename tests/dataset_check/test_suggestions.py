from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from leaf_seg.data import load_datalist
from leaf_seg.dataset_check.auto_settings import log_suggested, setting, suggested_settings
from leaf_seg.dataset_check.run_check import CheckOptions, check_data_set
from leaf_seg.dataset_check.suggestions import SUGGESTED_KEYS, base_size, suggested_axis
from leaf_seg.image_io.grid import Grid
from tests.dataset_check.conftest import Write, disc, picture


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(288, 384)], (192, 256)),
        ([(40, 48), (40, 48), (900, 900)], (64, 64)),
        ([(35, 50)], (64, 64)),
        ([(512, 512)], (256, 256)),
        ([(20, 200)], (32, 192)),
    ],
)
def test_sizes(shapes: list[tuple[int, int]], size: tuple[int, int]) -> None:
    assert base_size(shapes) == size


@pytest.mark.parametrize(
    ("spacing", "axis"), [((1, 1, 5), "axial"), ((5, 1, 1), "sagittal"), ((1, 4, 1), "coronal"), ((1, 1, 1.2), "axial")]
)
def test_slices_lie_across_the_coarsest_direction(spacing: tuple[float, ...], axis: str) -> None:
    assert suggested_axis([Grid((10, 10, 10), np.diag([*spacing, 1]))]).value == axis
    turned = np.diag([*spacing, 1.0])[:, [2, 0, 1, 3]]  # the file's first axis goes up
    assert suggested_axis([Grid((10, 10, 10), turned)]).value == axis


def test_auto_gives_what_check_suggests_and_leaves_given_keys_alone(
    sound: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datalist = load_datalist(str(sound))
    suggested = suggested_settings("true", datalist, 2, given={})
    report = check_data_set(CheckOptions(str(sound), num_classes=2))
    assert list(suggested.values()) == list(report.suggestions)
    assert set(suggested) == set(SUGGESTED_KEYS)
    assert setting(suggested, "batch_size", 32) == 1
    assert setting(suggested_settings(False, datalist), "batch_size", 32) == 32

    given = suggested_settings(True, datalist, 2, given={"batch_size": 8, "image_size": [32, 32], "seed": 1})
    assert set(given) == set(SUGGESTED_KEYS) - {"batch_size", "image_size"}
    assert given["learning_rate"].value == 2e-4  # for the batch that is given
    with caplog.at_level(logging.INFO):
        log_suggested(given)
    assert "auto: learning_rate is 0.0002: " in caplog.text
    assert "image_size" not in caplog.text


def test_no_suggestion_is_made_of_testing_cases(write: Write) -> None:
    split = {"training": ["a"], "validation": ["b"], "testing": ["c"]}
    cases = {name: (picture(number), disc()) for number, name in enumerate("abc")}
    before = check_data_set(CheckOptions(str(write(cases, split)), num_classes=2)).suggestions
    large = np.tile(picture(5), (8, 8, 1))
    cases["c"] = (large, np.tile(disc(radius=1), (8, 8)))
    after = check_data_set(CheckOptions(str(write(cases, split, "other")), num_classes=2)).suggestions
    assert before == after


def test_thin_structures_ask_for_a_larger_size(write: Write) -> None:
    line = np.zeros((40, 48), np.uint8)
    line[20:22, 5:40] = 1
    cases = {name: (picture(number), line) for number, name in enumerate("abc")}
    folder = write(cases, {"training": ["a"], "validation": ["b"], "testing": ["c"]})
    suggested = {s.key: s for s in check_data_set(CheckOptions(str(folder), num_classes=2)).suggestions}
    assert min(suggested["image_size"].value) > 64
    assert "pixels wide" in suggested["image_size"].reason
