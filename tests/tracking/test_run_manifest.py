from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking import RunManifest, run_manifest


def start(folder: Path, config: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_manifest, "command_line_config", lambda: config)
    engine: Any = Engine(lambda engine, batch: None)
    RunManifest(folder, 0, torch.device("cpu"), "abc").attach(engine)
    engine.run([0])


def test_config_and_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tmp_path / "run", {"a": 1, "overwrite": "true", "resume": True}, monkeypatch)
    config = json.loads((tmp_path / "run" / "executed_config.json").read_text())
    assert config == {"a": 1, "overwrite": False, "resume": False}  # whoever repeats the run does not mean to overwrite
    assert len(json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"]) == 1


def test_without_a_command_line_there_is_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tmp_path, None, monkeypatch)
    assert not (tmp_path / "executed_config.json").exists()
    assert (tmp_path / "manifest.json").exists()


def test_settings_that_changed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(tmp_path, {"a": 1, "same": 2, "deep": {"b": [1], "c": 3}}, monkeypatch)
    assert "Settings differ" not in caplog.text
    start(tmp_path, {"a": 1, "same": 2, "deep": {"b": [1, 2]}, "new": 4, "resume": True}, monkeypatch)
    for change in ("deep#b: [1] before, [1, 2] now", "deep#c: 3 before, 'not set' now", "new: 'not set' before, 4 now"):
        assert change in caplog.text
    assert "same" not in caplog.text


def test_what_changed_in_a_list_of_parts_is_told_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handlers: list[dict[str, Any]] = [{"_target_": f"leaf_seg.handlers.Handler{number}"} for number in range(30)]
    start(tmp_path, {"handlers": handlers}, monkeypatch)
    start(tmp_path, {"handlers": [*handlers[:-1], {**handlers[-1], "tolerance": 2}]}, monkeypatch)
    assert "handlers#29#tolerance: 'not set' before, 2 now" in caplog.text
    assert len(caplog.messages[-1]) < 300


def test_results_do_not_go_into_the_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model's own folder"):
        RunManifest(tmp_path / "x" / "..", 0, torch.device("cpu"), model_dir=tmp_path)
