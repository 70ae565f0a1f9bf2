from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leaf_seg.__main__ import main
from leaf_seg.data import ModelSettings
from leaf_seg.tracking.model_info import model_info
from leaf_seg.weights import save_model
from leaf_seg.weights.model_config import checksum


@pytest.fixture
def model(tmp_path: Path, make_segmenter: Callable[..., object]) -> Path:
    settings = ModelSettings(["background", "a", "b"], (16, 16), window=(-5, 5), num_slices=3)
    save_model(make_segmenter(), settings, tmp_path, {"epoch": 3, "val_foreground_dice": 0.5})  # type: ignore[arg-type]
    return tmp_path


def test_what_a_folder_holds(model: Path) -> None:
    (model / "evaluation" / "testing").mkdir(parents=True)
    summary = {"n": 7, "mean_foreground": {"dice": {"mean": 0.75}, "hd95": {"mean": None}}}
    (model / "evaluation" / "testing" / "metrics_summary.json").write_text(json.dumps(summary))
    info = model_info(model)
    assert info["class_names"] == ["background", "a", "b"]
    assert info["method"]["network"] == "LatentSegmenter"
    assert info["method"]["parameterization"] == "x0"
    assert (info["settings"]["window"], info["settings"]["num_slices"]) == ([-5, 5], 3)
    assert info["training"]["epoch"] == 3
    assert info["training_cases"] is None
    assert info["metrics"] == {"testing": {"n": 7, "dice": 0.75, "hd95": None}}
    assert info["weights"]["sha256"] == checksum(model / "model.pt")


def test_the_command(model: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == model_info(model)
    assert main(["info", str(model)]) == 0
    assert "background, a, b" in capsys.readouterr().out
    assert main(["info", str(tmp_path_factory.mktemp("empty"))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("leaf_seg: No config.json in ")
    assert said.count("\n") == 1
