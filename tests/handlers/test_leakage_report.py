from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from ignite.engine import Engine

from leaf_seg.data import Datalist, ModelSettings, load_datalist, make_phantoms
from leaf_seg.dataset_check.training_data import TrainingDataRecord
from leaf_seg.handlers import LeakageReport
from leaf_seg.weights import save_model


@pytest.fixture(scope="module")
def datalist(tmp_path_factory: pytest.TempPathFactory) -> Datalist:
    folder = tmp_path_factory.mktemp("phantoms")
    return load_datalist(str(make_phantoms(folder, num_cases=6, num_classes=3, size=(16, 16))))


def leakage(model: Path, datalist: Datalist, cases: list[dict[str, str]], split: str) -> dict[str, object] | None:
    """What the report adds to the summary of an evaluation."""
    (model / "metrics_summary.json").write_text("{}")
    evaluator = Engine(lambda engine, batch: None)
    LeakageReport(model, model, cases, split).attach(evaluator)
    evaluator.run([0])
    part: dict[str, object] | None = json.loads((model / "metrics_summary.json").read_text()).get("leakage")
    return part


def test_cases_of_the_training_are_warned_of(
    tmp_path: Path, datalist: Datalist, make_segmenter: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    settings = ModelSettings(["background", "a", "b"], (16, 16))
    save_model(make_segmenter(), settings, tmp_path, {"datalist_sha256": datalist.sha256})  # type: ignore[arg-type]
    assert leakage(tmp_path, datalist, datalist.testing, "testing") == {"training_data_known": False}

    TrainingDataRecord(datalist, tmp_path).write()
    none = {"n": 0, "of": len(datalist.testing), "cases": []}
    with caplog.at_level(logging.WARNING):
        found = leakage(tmp_path, datalist, datalist.testing, "testing")
    assert found == {"training_data_known": True, "groups_known": False, "same_file": none, "same_group": none}
    assert "leakage_report" not in {record.module for record in caplog.records}

    mixed = [*datalist.testing, datalist.training[0]]
    found = leakage(tmp_path, datalist, mixed, "testing")
    assert found is not None
    assert found["same_file"] == {
        "n": 1,
        "of": len(mixed),
        "cases": [Path(datalist.training[0]["image"]).name.partition(".")[0]],
    }
    assert f"The model was trained on the image of 1 of {len(mixed)} testing cases" in caplog.text
    assert leakage(tmp_path, datalist, datalist.training, "training") is None
