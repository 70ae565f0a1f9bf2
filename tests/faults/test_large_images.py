"""Large images in limited memory, through both commands that segment, with overlays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import save_model
from tests.faults.limited import MB, run_command_limited
from tests.faults.test_batches import COMMANDS, words

SHAPE = (512, 512, 300)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """157 MB of int16, not in RAS."""
    values = np.arange(512 * 300, dtype=np.int16).reshape(512, 1, 300) % 997
    path = tmp_path_factory.mktemp("volume") / "volume.nii"
    nib.save(nib.Nifti1Image(np.broadcast_to(values, SHAPE), np.diag([-0.7, -0.7, 1.0, 1.0])), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_volume_within_two_gigabytes_above_itself(
    command: str, volume: Path, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    settings = ModelSettings(["background", "a", "b"], (16, 16))
    save_model(make_segmenter(), settings, tmp_path / "model")
    outcome = run_command_limited(
        *words(command, volume, tmp_path / "out", tmp_path / "model"), memory=8192 * MB, seconds=300
    )
    assert outcome.code == 0, outcome.err[-3000:]
    written: Any = nib.load(tmp_path / "out" / "volume.nii")
    assert written.shape == SHAPE
    assert (tmp_path / "out" / "overlays" / "volume.png").exists()
    assert outcome.peak < 2048 * MB + volume.stat().st_size
