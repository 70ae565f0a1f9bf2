from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.mlflow_folder import local_store
from leaf_seg.weights import load_network, load_settings, mlflow_source, save_model
from leaf_seg.weights.mlflow_source import is_mlflow_model, model_folder, opened_model


@pytest.fixture(scope="module")
def store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(empty_store, tmp_path_factory.mktemp("store"))).parent


@pytest.fixture
def uri(store: Path, make_segmenter: Callable[..., LatentSegmenter], monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a model of leaf_seg, another model, and a run with both."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = local_store(store)
    client = MlflowClient(uri)
    if client.get_experiment_by_name("x") is not None:
        return uri
    settings = ModelSettings(["background", "a", "b"], (16, 16))
    save_model(make_segmenter(), settings, store / "own" / "data" / "model")
    (store / "other").mkdir()
    (store / "other" / "MLmodel").write_text("flavors: {}")
    experiment = client.create_experiment("x", artifact_location=(store / "mlruns").as_uri())
    run = client.create_run(experiment)
    client.set_tag(run.info.run_id, "here", "1")
    for name in ("own", "other"):
        model = client.create_logged_model(experiment, name, run.info.run_id)
        client.log_model_artifacts(model.model_id, str(store / name))
        client.finalize_logged_model(model.model_id, "READY")
        client.create_registered_model(name)
        client.create_model_version(name, model.artifact_location, run.info.run_id)
    client.create_logged_model(experiment, "half", run.info.run_id)
    client.set_registered_model_alias("own", "champion", "1")
    return uri


def _run(uri: str) -> str:
    (run,) = MlflowClient(uri).search_runs(["1"])
    return run.info.run_id


def _own_id(uri: str) -> str:
    return next(model.model_id for model in MlflowClient(uri).search_logged_models(["1"]) if model.name == "own")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["models:/own@champion", "models:/own/1", "models:/{id}", "runs:/{run}/own"])
def test_the_model_is_there_within_the_block(
    model: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with opened_model(model.format(id=_own_id(uri), run=_run(uri)), uri) as folder:
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.pt"]
        network = load_network(folder)
        assert network.num_classes == load_settings(folder).num_classes == 3
    assert not folder.exists()
    assert not list(tmp_path.glob("leaf_seg_model_*"))


@pytest.mark.slow
def test_the_store_of_the_environment(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert (model_folder("models:/own@champion") / "model.pt").is_file()


def test_folders_are_what_they_are(tmp_path: Path) -> None:
    assert not is_mlflow_model(tmp_path)
    assert model_folder(tmp_path / "nowhere") == tmp_path / "nowhere"
    with opened_model("runs/wbc") as folder:
        assert folder == Path("runs/wbc")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("models:/nobody@champion", r"is not in the MLflow store .*name=nobody not found"),
        ("models:/own@nobody", "is not in the MLflow store .*alias nobody not found"),
        ("models:/own/7", r"is not in the MLflow store .*version=7\) not found"),
        ("models:/m-0123", "is not in the MLflow store"),
        ("runs:/0123/model", "is not in the MLflow store .*Run with id=0123 not found"),
        ("runs:/{run}/nobody", "the run has no whole model of the name nobody"),
        ("runs:/{run}/half", "the run has no whole model of the name half"),
        ("models:/other/1", r"is no model of leaf_seg, or its files are gone: no data/model/config\.json in it"),
        ("models:/own", "expected models:/NAME@ALIAS"),
        ("models:/own/1/data", "expected models:/NAME@ALIAS"),
        ("runs:/0123", "expected models:/NAME@ALIAS"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(model: str, problem: str, uri: str) -> None:
    with pytest.raises(InputError, match=problem) as caught, opened_model(model.format(run=_run(uri)), uri):
        pass
    assert "\n" not in str(caught.value)


def test_no_store(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MLflow store is named; expected its address in the variable MLFLOW_TRA"):
        model_folder("models:/own/1")
    nowhere = local_store(tmp_path)
    with pytest.raises(InputError, match=r"No MLflow store .*; expected one"):
        model_folder("models:/own/1", nowhere)
    assert not list(tmp_path.iterdir())
    for wrong in ("http://127.0.0.1:9", "httq://x", "runs/wbc"):
        with pytest.raises(InputError, match=f"cannot be had from the MLflow store {wrong} .*Start it, or") as caught:
            model_folder("models:/own/1", wrong)
        assert "\n" not in str(caught.value)


def test_how_often_a_server_is_asked_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    for before in (None, "3"):
        monkeypatch.delenv(variable, raising=False) if before is None else monkeypatch.setenv(variable, before)
        with mlflow_source._one_try():
            assert mlflow_source.os.environ[variable] == (before or "0")
        assert mlflow_source.os.environ.get(variable) == before
