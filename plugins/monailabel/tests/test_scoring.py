"""Along which axes images are mirrored to find out how sure a model is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import leaf_seg
from leaf_seg import Segmenter
from leaf_seg.data import ModelSettings
from lib import scoring
from lib.scoring import SCORES, mirrorings
from plugins.monailabel.tests.conftest import ROOT

NAMES = ("background", "a")


def settings(axis: Any = "coronal") -> ModelSettings:
    return ModelSettings(NAMES, (16, 16), axis=axis)


@pytest.mark.parametrize(
    ("probability", "axis", "ndim", "expected"),
    [
        ([0.5, 0.5], "coronal", 2, [(), (0,), (1,), (0, 1)]),
        ([0, 0.5], "coronal", 2, [(), (1,)]),
        ([0.5, 0, 0.1], "coronal", 3, [(), (0,), (2,), (0, 2)]),
        ([0.5, 0.5], "coronal", 3, [(), (0,), (2,), (0, 2)]),  # the axes of coronal slices
        ([0.5, 0.5], ["coronal", "axial"], 3, [()]),
        ([0.5, 0, 0], "coronal", 2, [()]),
        (None, "coronal", 3, [()]),  # a model of version 0.2
    ],
)
def test_images_are_mirrored_as_in_training(
    probability: list[float] | None, axis: Any, ndim: int, expected: list[tuple[int, ...]]
) -> None:
    training = {} if probability is None else {"flip_probability": probability}
    assert mirrorings(training, settings(axis), ndim) == expected


def test_scores_are_of_the_answers_to_mirror_images(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = leaf_seg.load(ROOT / "bundles" / "leaf_seg" / "models", device="cpu")
    asked: list[tuple[int, ...]] = []
    original = Segmenter.__call__

    def noted(self: Segmenter, *args: Any, **options: Any) -> Any:
        asked.append(tuple(options.get("mirrored", ())))
        return original(self, *args, **options)

    monkeypatch.setattr(Segmenter, "__call__", noted)
    picture = np.random.default_rng(0).integers(0, 255, (20, 24), np.uint8)
    scores = scoring._scores(segmenter, picture, 4, {"flip_probability": [0.5, 0]})  # type: ignore[arg-type]
    assert asked == [(), (0,), (), (0,)]
    assert list(scores) == list(SCORES)
    alone = original(segmenter, picture)
    assert scores["expected_error"] == pytest.approx(1 - np.mean(list(alone.expected_dice.values())))
