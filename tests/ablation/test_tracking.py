"""The parent run in a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri

from leaf_seg.ablation import parent_run
from leaf_seg.runtime.errors import InputError


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
def test_the_run_is_the_same_when_called_again(tmp_path: Path) -> None:
    folder = tmp_path / "ablation"
    with parent_run(folder) as first:
        client = MlflowClient(first.tracking_uri)
        assert client.get_run(first.run_id).info.status == "RUNNING"
        (folder / "ablation.md").write_text("text")
        first.artifacts = [folder / "ablation.md"]
        first.status = "FINISHED"
    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(first.run_id)] == ["ablation.md"]
    assert first.tracking_uri == path_to_sqlite_uri(folder / "mlruns.db")
    assert (folder / "mlruns").is_dir()

    with parent_run(folder) as second:
        assert second.run_id == first.run_id
        assert client.get_run(first.run_id).info.status == "RUNNING"
    assert client.get_run(first.run_id).info.status == "FAILED", "not said to have finished"
    experiment = client.get_experiment_by_name(first.experiment_name)
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_or_an_interruption_ends_the_run(tmp_path: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), parent_run(tmp_path) as parent:
        raise error
    assert MlflowClient(parent.tracking_uri).get_run(parent.run_id).info.status == status


@pytest.mark.slow
def test_another_store_is_an_error(tmp_path: Path) -> None:
    with parent_run(tmp_path / "ablation"):
        pass
    other = path_to_sqlite_uri(tmp_path / "other.db")
    with pytest.raises(InputError, match="is tracked in"), parent_run(tmp_path / "ablation", other):
        pass


def test_a_run_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with parent_run(tmp_path):
        pass
    state = json.loads((tmp_path / "ablation.json").read_text()) | {"run_id": "0" * 32}
    (tmp_path / "ablation.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="delete"), parent_run(tmp_path):
        pass
