from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModel
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from leaf_seg.tracking import Registration
from leaf_seg.tracking.mlflow_model import WEIGHTS_TAG
from leaf_seg.tracking.mlflow_run import MlflowRun


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return path_to_sqlite_uri(str(shutil.copy(empty_store, tmp_path_factory.mktemp("store"))))


@pytest.fixture
def run(uri: str, request: pytest.FixtureRequest) -> MlflowRun:
    return MlflowRun(MLFlowHandler(uri, experiment_name=request.node.name), "abc", "name")


def logged(run: MlflowRun, weights: str) -> LoggedModel:
    model = run.client.create_logged_model(run.experiment_id, "model", run.id, tags={WEIGHTS_TAG: weights})
    return run.client.finalize_logged_model(model.model_id, "READY")


def test_the_same_weights_are_one_version(run: MlflowRun, uri: str) -> None:
    model = logged(run, "1")
    versions = [Registration("cells").register(run, model, {"best_dice": 0.5}).version for _ in range(2)]
    assert versions == [1, 1]
    assert Registration("cells").register(run, logged(run, "2"), {}).version == 2
    assert Registration("others").register(run, model, {}).version == 1
    kept = MlflowClient(uri).get_model_version("cells", "1")
    assert kept.tags == {WEIGHTS_TAG: "1", "best_dice": "0.5"}
    assert kept.run_id == run.id
    assert kept.source == model.model_uri


def test_an_alias_moves_only_when_it_is_asked_for(run: MlflowRun, uri: str) -> None:
    Registration("tissue", "champion").register(run, logged(run, "1"), {})
    Registration("tissue").register(run, logged(run, "2"), {})
    client = MlflowClient(uri)
    assert client.get_model_version_by_alias("tissue", "champion").version == 1
    Registration("tissue", "champion").register(run, logged(run, "3"), {})
    assert client.get_model_version_by_alias("tissue", "champion").version == 3
    with pytest.raises(MlflowException, match="not found"):
        client.get_model_version_by_alias("tissue", "latest_one")


def test_nobodys_global_store_is_changed(run: MlflowRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would look for the logged model in the folder that the process was started in."""
    monkeypatch.chdir(tmp_path)
    Registration("organs").register(run, logged(run, "1"), {})
    assert not list(tmp_path.iterdir())
