from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.tracking.train import _loaded
from leaf_seg.weights import CheckpointFolder
from tests.two_processes import in_two_processes, said_by


def load(folder: Path) -> dict[str, Any]:
    """What is loaded, and what is logged meanwhile, also by the second process."""
    logging.disable(logging.NOTSET)
    said = said_by("leaf_seg.weights.checkpoint_folder")
    return {"state": _loaded(CheckpointFolder(folder)), "said": said}


@pytest.mark.dist
def test_each_process_loads_the_last_whole_checkpoint_once(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save({"iteration": step})
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"damaged")
    first, second = in_two_processes(load, tmp_path, tmp_path / "checkpoints")
    assert first["state"] == second["state"] == {"iteration": 1}
    damaged, resuming = first["said"]
    assert "is damaged and not used" in damaged
    assert second["said"] == [resuming], "which the first has moved aside"
