"""The spread over noise seeds, and the Dice it is made of."""

from __future__ import annotations

import json

import pytest
import torch

from leaf_seg.metrics import case_metrics, class_dice, noise_stability


def test_dice_is_that_of_the_report():
    generator = torch.Generator().manual_seed(0)
    pred, label = torch.randint(0, 3, (2, 12, 10), generator=generator)
    expected = case_metrics(pred, label, 4, spacing=[1, 1], tolerance=1)["dice"]
    assert class_dice(pred, label, 4) == expected
    assert expected[2] == 1, "class 3 is absent from both"
    assert 0 < expected[0] < 1


def test_spread_over_seeds_of_the_mean_over_cases():
    dice = {3: [[0.5, 0.9], [0.7, 0.9]], 4: [[0.7, 0.9], [0.9, 0.9]]}  # by seed: cases x classes

    stability = json.loads(json.dumps(noise_stability(dice, ["x", "y"]), allow_nan=False))

    assert stability["noise_seeds"] == [3, 4]
    x, y = (stability["classes"][name]["dice"] for name in ("x", "y"))
    assert x == {"per_seed": pytest.approx([0.6, 0.8]), "mean": pytest.approx(0.7), "std": pytest.approx(0.02**0.5)}
    assert y["std"] == pytest.approx(0, abs=1e-12)
    foreground = stability["mean_foreground"]["dice"]
    assert foreground["per_seed"] == pytest.approx([0.75, 0.85])
    assert foreground["std"] == pytest.approx(0.005**0.5)
