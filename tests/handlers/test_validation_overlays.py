from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from leaf_seg.data import make_phantoms
from leaf_seg.handlers import ValidationOverlays
from leaf_seg.visual.case_overlay import CaseOverlay


def test_draws_the_first_cases_of_every_validation(tmp_path: Path) -> None:
    files = sorted((make_phantoms(tmp_path, num_cases=4, size=(20, 24)) / "images").iterdir())[:3]
    evaluator: Any = Engine(lambda engine, batch: [{"pred": torch.zeros(1, 20, 24, dtype=torch.uint8)}])
    draw = CaseOverlay(["background", "cell"])
    ValidationOverlays(tmp_path / "overlays", draw, num_cases=2).attach(evaluator)
    batches = [[{"image": MetaTensor(torch.rand(1, 20, 24), meta={"filename_or_obj": str(file)})}] for file in files]
    for epoch in (5, 10):
        evaluator.state.epoch = epoch - 1
        evaluator.state.iteration = 0
        evaluator.state.max_epochs = epoch
        evaluator.state.epoch_length = 3
        evaluator.run(batches, max_epochs=epoch)
    drawn = sorted(file.name for file in (tmp_path / "overlays").iterdir())
    assert drawn == [f"{file.stem}_epoch_{epoch:04d}.png" for file in files[:2] for epoch in (5, 10)]
    assert np.asarray(Image.open(tmp_path / "overlays" / drawn[0])).std() > 0
