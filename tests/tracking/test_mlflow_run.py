from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from leaf_seg.tracking import local_store
from leaf_seg.tracking.mlflow_run import MlflowRun, metric_key, mlflow_handler


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return path_to_sqlite_uri(str(tmp_path_factory.mktemp("store") / "mlruns.db"))


@pytest.fixture
def handler(uri: str, request: pytest.FixtureRequest) -> MLFlowHandler:
    return MLFlowHandler(uri, experiment_name=request.node.name)


@pytest.mark.slow
def test_a_run_is_found_again_by_its_own_name(handler: MLFlowHandler, uri: str) -> None:
    first = MlflowRun(handler, "abc", "people see this")
    first.log_metrics([(1, {"loss": 0.5}), (2, {"loss": 0.25})])
    again = MlflowRun(MLFlowHandler(uri, experiment_name=handler.experiment_name), "abc", "another name")
    other = MlflowRun(handler, "xyz", "people see this")
    assert first.id == again.id != other.id
    again.log_metrics([(3, {"loss": 0.125})])
    history = MlflowClient(uri).get_metric_history(first.id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert MlflowClient(uri).get_run(first.id).info.run_name == "people see this"


def test_what_a_run_has_of_a_step_is_not_logged_again(handler: MLFlowHandler, uri: str) -> None:
    """Steps between the last checkpoint and a kill are done twice."""
    MlflowRun(handler, "abc", "name").log_metrics([(step, {"loss": 1 / step}) for step in (1, 2, 3)], once=True)
    again = MlflowRun(MLFlowHandler(uri, experiment_name=handler.experiment_name), "abc", "name")
    again.log_metrics([(step, {"loss": 1 / step, "new": 0.0}) for step in (2, 3, 4)], once=True)
    again.log_metrics([(4, {"loss": 1 / 4})], once=True)
    history = MlflowClient(uri).get_metric_history(again.id, "loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    assert len(MlflowClient(uri).get_metric_history(again.id, "new")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b", "it's", 'say "x"', "p%41z", "h#1", "q?2", "semi;colon"])
def test_files_lie_beside_the_store_whatever_its_folder_is_called(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    uri = local_store(folder)
    run = MlflowRun(MLFlowHandler(uri, experiment_name="x"), "abc", "name")
    run.log_files([folder / "a.txt"])
    assert [file.path for file in run.client.list_artifacts(run.id)] == ["a.txt"]
    assert len(list((folder / "mlruns").rglob("a.txt"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_ended_run_runs_again(handler: MLFlowHandler, uri: str) -> None:
    def status() -> str:
        return MlflowClient(uri).get_run(run.id).info.status

    run = MlflowRun(handler, "abc", "name")
    run.end("FAILED")
    assert status() == "FAILED"
    MlflowRun(handler, "abc", "name")
    assert status() == "RUNNING"
    run.end()
    assert status() == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (ValueError("bad"), "FAILED")])
def test_stopped_by_an_error(
    error: BaseException, status: str, handler: MLFlowHandler, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "train.log").write_text("what was logged")
    run = MlflowRun(handler, "abc", "name")
    run.stop(error, [(7, {"loss": 0.5})], tmp_path / "train.log")
    client = MlflowClient(uri)
    assert client.get_run(run.id).info.status == status
    assert client.get_metric_history(run.id, "loss")[0].step == 7
    assert [file.path for file in client.list_artifacts(run.id)] == ["train.log"]


def test_a_failure_of_mlflow_does_not_hide_what_stopped_a_training(
    handler: MLFlowHandler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = MlflowRun(handler, "abc", "name")
    run.client.delete_run(run.id)
    run.stop(ValueError("bad"), [], tmp_path / "train.log")
    assert "MLflow does not know that the training has stopped" in caplog.text


@pytest.mark.parametrize("former", [None, "RUNNING", "FAILED", "FINISHED"])
def test_results_leave_the_status_of_the_training(former: str | None, handler: MLFlowHandler, uri: str) -> None:
    if former is not None:
        training = MlflowRun(handler, "abc", "name")
        if former != "RUNNING":
            training.end(former)
    results = MlflowRun(handler, "abc", "name")
    results.leave()
    assert MlflowClient(uri).get_run(results.id).info.status == (former or "FINISHED")


def test_params_stay_what_they_were(handler: MLFlowHandler, uri: str) -> None:
    MlflowRun(handler, "abc", "name").log_params({"max_epochs": 5, "unet_config/dropout": 0.1, "long": "x" * 9000})
    MlflowRun(handler, "abc", "name").log_params({"max_epochs": 9, "new": True})
    params = MlflowClient(uri).get_run(MlflowRun(handler, "abc", "name").id).data.params
    assert params["max_epochs"] == "5"
    assert params["new"] == "True"
    assert params["unet_config/dropout"] == "0.1"
    assert set(params["long"]) == {"x"}


def test_a_child(handler: MLFlowHandler, uri: str) -> None:
    parent = MlflowRun(handler, "abc", "parent")
    child = MlflowRun(handler, "def", "child", parent_run=parent.id)
    assert MlflowClient(uri).get_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


def test_many_metrics_at_once(handler: MLFlowHandler, uri: str) -> None:
    run = MlflowRun(handler, "abc", "name")
    run.log_metrics([(step, {"a": 1.0, "b": 2.0}) for step in range(1200)])
    assert len(MlflowClient(uri).get_metric_history(run.id, "b")) == 1200


def test_files_that_are_there(handler: MLFlowHandler, uri: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "folder" / ".unfinished_x").mkdir()
    (tmp_path / "folder" / ".unfinished_x" / "b.txt").write_text("half")
    (tmp_path / "folder" / ".7.c.txt").write_text("half")
    (tmp_path / "b.txt").write_text("b")
    run = MlflowRun(handler, "abc", "name")
    run.log_files([tmp_path / "b.txt", tmp_path / "none.txt"])
    run.log_files([tmp_path / "folder"], "under")
    client = MlflowClient(uri)
    assert [file.path for file in client.list_artifacts(run.id)] == ["b.txt", "under"]
    assert [file.path for file in client.list_artifacts(run.id, "under")] == ["under/a.txt"]


NAMES = ("val_dice_cell", "a b/c", "a(b) c/d=é", "a(b) c/d=è", "../up", "a/../b", "a//b", "/a", ".", "🙂", "x" * 400)


def test_keys_that_mlflow_takes(handler: MLFlowHandler, uri: str) -> None:
    keys = [metric_key(name) for name in NAMES]
    assert keys[:2] == list(NAMES[:2])
    assert len(set(keys)) == len(NAMES)
    run = MlflowRun(handler, "abc", "name")
    run.log_metrics([(1, {name: 1.0 for name in NAMES})])
    assert len(MlflowClient(uri).get_run(run.id).data.metrics) == len(NAMES)
    for key in keys:
        run.client.log_image(run.id, np.zeros((4, 4, 3), np.uint8), key=key, step=1, synchronous=True)


def test_the_handler_that_tracking_adds(handler: MLFlowHandler) -> None:
    assert mlflow_handler([object(), handler]) is handler
    assert mlflow_handler([object()]) is None
