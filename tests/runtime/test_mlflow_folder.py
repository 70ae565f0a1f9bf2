from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient, MlflowException

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.mlflow_folder import follow_move, local_store, server_command, shown


def _artifact_of(folder: Path, experiment: str = "x") -> str:
    """What MLflow finds under the name a.txt in the only run of a folder's store."""
    client = MlflowClient(local_store(folder))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return Path(client.download_artifacts(run.info.run_id, "a.txt")).read_text()


def _make(folder: Path, files: Path, empty_store: Path) -> Path:
    """A store with a run, a logged model and a registered version of it."""
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlruns.db")
    (folder / "a.txt").write_text("here")
    (folder / "model").mkdir()
    (folder / "model" / "model.pt").write_text("weights")
    client = MlflowClient(local_store(folder))
    experiment = client.create_experiment("x", artifact_location=files.as_uri())
    run = client.create_run(experiment)
    client.log_artifact(run.info.run_id, str(folder / "a.txt"))
    model = client.create_logged_model(experiment, "model", run.info.run_id)
    client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.create_registered_model("cells")
    client.create_model_version("cells", model.artifact_location, run.info.run_id)
    return folder


@pytest.fixture(scope="module")
def made(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "first place"
    return _make(folder, folder / "mlruns", empty_store)


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of a folder with a store, that knows where it is."""
    folder = Path(shutil.copytree(made, tmp_path / "a place"))
    follow_move(local_store(folder))
    return folder


def test_a_folder_that_was_moved(store: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    moved = store.rename(tmp_path / "deep" / "ä 100%")
    with pytest.raises(MlflowException, match="Failed to download"):
        _artifact_of(moved)
    follow_move(local_store(moved))
    assert _artifact_of(moved) == "here"
    client = MlflowClient(local_store(moved))
    version = client.get_model_version_download_uri("cells", "1")
    (model,) = client.search_logged_models(["1"])
    assert version == model.artifact_location
    assert version.startswith((moved / "mlruns").as_uri())


def test_a_copy_has_its_own_files(made: Path, store: Path) -> None:
    """And does not write into the original's."""
    (file,) = store.glob("mlruns/*/artifacts/a.txt")
    file.write_text("the copy's")
    assert _artifact_of(store) == "the copy's"
    assert _artifact_of(made) == "here"


def test_what_is_right_is_left_alone(store: Path) -> None:
    before = (store / "mlruns.db").read_bytes()
    follow_move(local_store(store))
    assert (store / "mlruns.db").read_bytes() == before
    link = store.with_name("link")
    link.symlink_to(store)
    follow_move(local_store(link))  # the same folder by another name
    assert (store / "mlruns.db").read_bytes() == before
    (store / "mlruns").rename(store / "elsewhere")  # the files were not moved with it
    follow_move(local_store(store))
    assert (store / "mlruns.db").read_bytes() == before


def test_files_that_somebody_keeps_elsewhere_stay_there(empty_store: Path, tmp_path: Path) -> None:
    store = _make(tmp_path / "store", tmp_path / "disk" / "files", empty_store)
    (store / "mlruns").mkdir()
    follow_move(local_store(store))
    assert _artifact_of(store) == "here"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://host/base", "sqlite:///nowhere/mlruns.db"])
def test_other_stores_are_left_alone(uri: str) -> None:
    follow_move(uri)


def test_a_store_that_is_being_written_to(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaf_seg.runtime.mlflow_folder._BUSY_SECONDS", 0.01)
    moved = store.rename(tmp_path / "moved")
    other = sqlite3.connect(moved / "mlruns.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match=r"mlruns\.db: the paths in it .* cannot be changed \(database is locked\)"):
        follow_move(local_store(moved))
    other.close()


def test_the_command_that_shows_a_store(store: Path, tmp_path: Path) -> None:
    moved = store.rename(tmp_path / "moved")
    command = server_command(moved, 5001)
    assert command[1:6] == ["-m", "mlflow", "server", "--backend-store-uri", local_store(moved)]
    assert command[6:8] == ["--port", "5001"]
    assert _artifact_of(moved) == "here"
    with pytest.raises(InputError, match=r"No .*nowhere/mlruns\.db; expected the store of a training"):
        server_command(tmp_path / "nowhere", 5001)


def _content(folder: Path, name: str = "mlruns.db") -> list[str]:
    with sqlite3.connect(folder / name) as connection:
        return list(connection.iterdump())


def test_a_store_of_another_name_is_somebody_elses(store: Path, tmp_path: Path) -> None:
    moved = store.rename(tmp_path / "moved")
    (moved / "mlruns.db").rename(moved / "mlflow.db")
    before = _content(moved, "mlflow.db")
    follow_move(local_store(moved).replace("mlruns.db", "mlflow.db"))
    assert _content(moved, "mlflow.db") == before


def test_a_store_whose_files_are_not_here_is_left(store: Path, tmp_path: Path) -> None:
    moved = store.rename(tmp_path / "moved")
    shutil.rmtree(moved / "mlruns")
    (moved / "mlruns").mkdir()
    before = _content(moved)
    follow_move(local_store(moved))
    assert _content(moved) == before


@pytest.mark.slow
def test_a_training_at_work_keeps_its_paths(store: Path, tmp_path: Path) -> None:
    """It may see the folder under another name, as in a container."""
    moved = store.rename(tmp_path / "moved")
    before = _content(moved)
    program = (
        "import sys; from pathlib import Path; from leaf_seg.runtime.claim import claim_folder\n"
        "claim_folder(Path(sys.argv[1])); print('claimed', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(moved)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"claimed\n"
        follow_move(local_store(moved))
        assert _content(moved) == before
        other.communicate()
    follow_move(local_store(moved))
    assert _content(moved) != before


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql://user:secret@host:5432/db") == "postgresql://host:5432/db"
    assert shown("https://me:pw@host/a@b") == "https://host/a@b"
    assert shown("sqlite:////runs/a@b/mlruns.db") == "sqlite:////runs/a@b/mlruns.db"
