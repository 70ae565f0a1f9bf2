from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.handlers import ModelSaver
from leaf_seg.networks import LatentSegmenter, MaskCodec
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, load_settings

SETTINGS = ModelSettings(["background", "a", "b"], [16, 16])


def _validate(saver: ModelSaver, epoch: int, best_epoch: int) -> None:
    engine: Any = Engine(lambda engine, batch: None)
    saver.attach(engine)
    engine.state.key_metric_name, engine.state.best_metric = "val_foreground_dice", 0.5
    engine.state.best_metric_epoch = best_epoch
    engine.run([0], max_epochs=epoch)


def test_saves_the_best_with_its_configuration(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    network = make_segmenter()
    record = {"image_loss_weight": 5.0}
    saver = ModelSaver(network, SETTINGS, str(tmp_path / "model"), {"datalist_sha256": "abc"}, training_record=record)
    _validate(saver, epoch=2, best_epoch=1)
    assert not (tmp_path / "model").exists()
    _validate(saver, epoch=2, best_epoch=2)
    assert load_settings(tmp_path / "model") == SETTINGS
    loaded = load_network(tmp_path / "model")
    assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))
    training = json.loads((tmp_path / "model" / "config.json").read_text())["training"]
    assert training == {"datalist_sha256": "abc", "image_loss_weight": 5.0, "epoch": 2, "val_foreground_dice": 0.5}


def test_weights_that_cannot_be_written_leave_the_former_model(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _validate(ModelSaver(make_segmenter(), SETTINGS, str(tmp_path)), 1, 1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full_disk(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match="No space left"):
        _validate(ModelSaver(make_segmenter(parameterization="eps"), SETTINGS, str(tmp_path)), 1, 1)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_stored_in_half_precision_but_for_the_decoder(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    network = make_segmenter().train()
    _validate(ModelSaver(network, SETTINGS, str(tmp_path / "half"), storage="fp16"), 1, 1)
    _validate(ModelSaver(network, SETTINGS, str(tmp_path / "full")), 1, 1)
    half, full = ((tmp_path / name / "model.pt").stat().st_size for name in ("half", "full"))
    assert half < 0.75 * full
    loaded, state = load_network(tmp_path / "half").state_dict(), network.state_dict()
    for name, value in loaded.items():
        assert value.dtype == torch.float32
        exact = name.startswith("mask_decoder.") or name == "noise"
        assert torch.equal(value, state[name] if exact else state[name].half().float()), name
    assert any(not torch.equal(value, state[name]) for name, value in loaded.items())


def test_a_network_that_could_not_be_loaded_is_not_trained(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    class Mine(MaskCodec):
        """In no dictionary of networks/parts.py."""

    network = make_segmenter()
    network.codec = Mine(3)
    with pytest.raises(InputError, match=r"could be saved, but not loaded: The class 'Mine' is not known.*parts\.py"):
        ModelSaver(network, SETTINGS, str(tmp_path / "model"))


def test_unknown_storage(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="storage is 'int8'; expected fp32 or fp16"):
        _validate(ModelSaver(make_segmenter(), SETTINGS, str(tmp_path / "model"), storage="int8"), 1, 1)
    assert not (tmp_path / "model").exists()
