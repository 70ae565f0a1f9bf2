"""What ``--auto true`` chooses where training starts from a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.data import Datalist, load_datalist, make_phantoms
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.dataset_check.suggestions import SUGGESTED_KEYS
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import save_model
from leaf_seg.weights.auto_start import suggested_settings


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Datalist:
    folder = make_phantoms(tmp_path_factory.mktemp("volumes"), dimension=3, num_cases=4, size=(24, 20, 16))
    return load_datalist(str(folder))


def chosen(datalist: Datalist, **given: Any) -> dict[str, Any]:
    suggested = suggested_settings("true", datalist, 3, given=given)
    return {key: suggestion.value for key, suggestion in suggested.items()}


@pytest.mark.slow
def test_how_the_model_saw_images_stands(
    volumes: Datalist, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"image_size": (1024, 512), "axis": ("coronal", "axial"), "num_slices": 3, "window": (0.0, 900.0)}
    save_model(make_segmenter(), ModelSettings(["a", "b", "c"], **own, spacing=(1, 1, 2)), tmp_path)  # type: ignore[arg-type]
    alone = chosen(volumes)
    assert alone["image_size"] == [64, 64]
    assert set(alone) == set(SUGGESTED_KEYS)

    started = chosen(volumes, init_dir=str(tmp_path), spacing=None)
    assert set(started) == set(SUGGESTED_KEYS)
    assert {key: started[key] for key in own} == {key: list(v) if isinstance(v, tuple) else v for key, v in own.items()}
    assert started["batch_size"] < alone["batch_size"]  # for the larger slices
    said = f"auto: the model in {tmp_path} has spacing [1, 1, 2], and this training null. Give --spacing to go on"
    assert said in caplog.text
    reason = suggested_settings(True, volumes, 3, given={"init_dir": str(tmp_path)})["window"].reason
    assert reason == f"that of the model in {tmp_path}"
    caplog.clear()
    given = chosen(volumes, init_dir=str(tmp_path), image_size=[32, 32], spacing=[1, 1, 2])
    assert "image_size" not in given
    assert given["axis"] == ["coronal", "axial"]
    assert "auto: the model" not in caplog.text


def test_no_model_there(volumes: Datalist, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a model"):
        chosen(volumes, init_dir=str(tmp_path / "nowhere"))
    assert suggested_settings(False, volumes, given={"init_dir": "nowhere"}) == {}
