from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from leaf_seg.errors import InputError
from leaf_seg.handlers import ModelConfigSaver
from leaf_seg.networks import LatentSegmenter
from leaf_seg.settings import ModelSettings
from leaf_seg.weights import load_network, load_settings

SETTINGS = ModelSettings(["background", "a", "b"], [16, 16])


def test_config_is_there_before_the_first_step(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    network = make_segmenter()
    seen = []
    engine = Engine(lambda engine, batch: seen.append((tmp_path / "model" / "config.json").is_file()))
    ModelConfigSaver(network, SETTINGS, str(tmp_path / "model")).attach(engine)
    assert not (tmp_path / "model").exists()
    engine.run([0, 0])
    assert seen == [True, True]
    torch.save(network.state_dict(), tmp_path / "model" / "model.pt")
    assert load_settings(tmp_path / "model") == SETTINGS
    loaded = load_network(tmp_path / "model")
    assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))


def test_unwritable_folder_stops_the_training_at_its_start(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    steps = []
    engine = Engine(lambda engine, batch: steps.append(batch))
    ModelConfigSaver(make_segmenter(), SETTINGS, str(tmp_path / "file")).attach(engine)
    with pytest.raises(InputError, match="Cannot write to the output folder"):
        engine.run([0])
    assert not steps
