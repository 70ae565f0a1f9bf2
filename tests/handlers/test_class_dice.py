from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric

from leaf_seg.handlers import ClassDice


def test_dice_of_each_class_averages_to_the_key_metric() -> None:
    metric = DiceMetric(include_background=False, ignore_empty=False, num_classes=3)
    engine: Any = Engine(lambda engine, batch: batch)
    IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"])).attach(engine, "mean")
    ClassDice(metric, ["background", "cell", "nucleus"]).attach(engine)
    label = torch.tensor([[0, 1, 1, 2]])
    preds = [torch.tensor([[0, 1, 1, 2]]), torch.tensor([[0, 1, 0, 0]])]
    engine.run([[{"pred": pred, "label": label}] for pred in preds])
    metrics = engine.state.metrics
    assert metrics["val_dice_cell"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["val_dice_nucleus"] == pytest.approx(0.5)
    assert metrics["mean"] == pytest.approx((metrics["val_dice_cell"] + metrics["val_dice_nucleus"]) / 2)
