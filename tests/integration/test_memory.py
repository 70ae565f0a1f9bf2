"""Memory of a training does not grow from epoch to epoch.

``LEAF_SEG_IMAGES=2000 pytest tests/integration/test_memory.py -m slow`` takes as many images.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from ignite.engine import Events

from leaf_seg.data import make_phantoms
from tests.in_process import everything_restored
from trainers import BUNDLE, abandon, build_trainer

IMAGES = int(os.environ.get("LEAF_SEG_IMAGES", "120"))
SETTINGS = {
    "num_classes": 2,
    "image_size": [64, 64],
    "batch_size": 16,
    "num_workers": 1,
    "unet_config#block_out_channels": [32, 32, 32],
}


@pytest.mark.nightly
def test_three_epochs(tmp_path: Path) -> None:
    make_phantoms(tmp_path / "data", num_cases=IMAGES, num_classes=2, size=(512, 512))
    settings = SETTINGS | {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "run")}
    with everything_restored():
        trainer = build_trainer([BUNDLE / "configs" / "train.json"], settings, [])
        process, used = psutil.Process(), []

        def measure() -> None:
            family = [process, *process.children(recursive=True)]  # workers, too
            used.append(sum(one.memory_info().rss for one in family) / 2**20)

        trainer.add_event_handler(Events.EPOCH_COMPLETED, measure)
        with trainer.add_event_handler(Events.EPOCH_COMPLETED(once=3), trainer.interrupt):
            trainer.run()
        abandon(trainer)
    assert len(used) == 3
    assert max(used[1:]) < 1.05 * used[0], used
