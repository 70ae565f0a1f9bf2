from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ignite.engine import Engine
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from leaf_seg.data import ModelSettings, load_datalist, make_phantoms
from leaf_seg.dataset_check.training_data import TRAINING_DATA_NAME, TrainingDataRecord
from leaf_seg.handlers import LeakageReport
from leaf_seg.networks import LatentSegmenter
from leaf_seg.tracking.mlflow_model import log_model
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.weights import save_model
from leaf_seg.weights.mlflow_source import opened_model


def test_a_model_out_of_mlflow_knows_what_it_was_trained_on(
    empty_store: Path,
    make_segmenter: Callable[..., LatentSegmenter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = path_to_sqlite_uri(str(shutil.copy(empty_store, tmp_path)))
    datalist = load_datalist(str(make_phantoms(tmp_path / "data", num_cases=6, num_classes=3, size=(16, 16))))
    settings = ModelSettings(["background", "a", "b"], (16, 16))
    folder, report = tmp_path / "model", tmp_path / "report"
    save_model(make_segmenter(), settings, folder, {"datalist_sha256": datalist.sha256})
    TrainingDataRecord(datalist, folder).write()
    run = MlflowRun(MLFlowHandler(uri, experiment_name="x"), "abc", "name")
    model = log_model(run, folder, 0)
    with opened_model(f"models:/{model.model_id}", uri) as found:
        assert (found / TRAINING_DATA_NAME).read_bytes() == (folder / TRAINING_DATA_NAME).read_bytes()
        report.mkdir()
        (report / "metrics_summary.json").write_text("{}")
        evaluator = Engine(lambda engine, batch: None)
        LeakageReport(report, found, [datalist.training[0], *datalist.testing]).attach(evaluator)
        evaluator.run([0])
    assert json.loads((report / "metrics_summary.json").read_text())["leakage"]["same_file"]["n"] == 1
    assert "The model was trained on the image of 1 of " in caplog.text
    assert str(tmp_path) not in (folder / TRAINING_DATA_NAME).read_text()
