from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg import Segmenter
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png"])
def test_files_that_cannot_be_read(name: str, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    (tmp_path / name).write_text("no image")
    segmenter = Segmenter(make_segmenter(), ModelSettings(["background", "a", "b"], (16, 16)), device="cpu")
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        segmenter(str(tmp_path / name))
    with pytest.raises(InputError, match=r"missing\.png: does not exist"):
        segmenter(str(tmp_path / "missing.png"))
