from __future__ import annotations

import logging
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri

from leaf_seg.runtime.claim import release_folder
from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking import clear_run_folder, end_log, prepare_empty_folder, prepare_run_folder
from leaf_seg.weights import CheckpointFolder


@pytest.fixture(autouse=True)
def _keep_root_handlers() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_text("weights")
    return tmp_path


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    CheckpointFolder(tmp_path / "checkpoints").save({"step": 1})
    (tmp_path / "losses.csv").write_text("step\n1\n")
    return tmp_path


def test_a_new_folder(tmp_path: Path) -> None:
    assert prepare_run_folder(tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    "name",
    ["model.pt", "config.json", "manifest.json", "losses.csv", "metrics.csv", "curves.png", "executed_config.json"],
)
def test_a_folder_with_anything_of_a_training_is_refused(name: str, tmp_path: Path) -> None:
    """Also where it is of an autoencoder, or of another program."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=rf"already holds a training or a model \({name}\).*--resume true"):
        prepare_run_folder(tmp_path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["precious"]


def test_a_stopped_training_is_refused(stopped: Path) -> None:
    with pytest.raises(InputError, match=r"\(checkpoints/last.pt\).*--resume true.*--overwrite true"):
        prepare_run_folder(stopped)
    assert CheckpointFolder(stopped / "checkpoints").load() == {"step": 1}


def test_overwrite_removes_nothing_until_the_training_begins(model: Path, stopped: Path) -> None:
    before = {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}
    prepare_run_folder(stopped, overwrite=True)
    assert before == {file: file.read_bytes() for file in before}
    clear_run_folder(stopped)
    assert CheckpointFolder(stopped / "checkpoints").load() is None
    assert not (stopped / "losses.csv").exists()
    assert (model / "model.pt").exists()


def test_resume_keeps_everything(stopped: Path) -> None:
    prepare_run_folder(stopped, resume=True)
    assert CheckpointFolder(stopped / "checkpoints").load() == {"step": 1}
    assert (stopped / "losses.csv").exists()


def test_a_model_without_checkpoint_cannot_be_resumed(model: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in checkpoints/ to resume from"):
        prepare_run_folder(model, resume=True)


def test_resume_and_overwrite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one"):
        prepare_run_folder(tmp_path, resume=True, overwrite=True)


def test_what_is_logged_goes_into_the_folder_too(tmp_path: Path) -> None:
    for _ in range(2):
        prepare_run_folder(tmp_path)
    logging.getLogger("somewhere").warning("a warning")
    text = (tmp_path / "train.log").read_text()
    assert text.count("WARNING somewhere: a warning") == 1


def test_a_folder_can_be_moved_when_its_log_has_ended(tmp_path: Path) -> None:
    folder = prepare_run_folder(tmp_path / "run")
    end_log(folder)
    folder.rename(tmp_path / "moved")
    logging.getLogger("somewhere").warning("a warning")
    assert "a warning" not in (tmp_path / "moved" / "train.log").read_text()


def test_a_folder_that_has_gone_does_not_stop_what_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = prepare_run_folder(tmp_path / "run")
    folder.rename(tmp_path / "moved")
    logging.getLogger("somewhere").warning("a warning")
    assert "Traceback" not in capsys.readouterr().err
    end_log(folder)


@pytest.mark.parametrize(
    ("statements", "kept"),
    [
        ([], False),
        (["CREATE TABLE runs (id)"], False),
        (["CREATE TABLE experiments (id)"], False),
        (["CREATE TABLE experiments (id)", "INSERT INTO experiments VALUES (0)"], True),
    ],
)
def test_a_store_that_was_not_finished_is_made_anew(statements: list[str], kept: bool, tmp_path: Path) -> None:
    """What is left when MLflow is killed while it makes its tables."""
    store = tmp_path / "mlruns.db"
    connection = sqlite3.connect(store)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    store.touch()
    prepare_run_folder(tmp_path)
    assert store.exists() == kept


@pytest.mark.slow
def test_a_store_without_runs_is_one(tmp_path: Path) -> None:
    """That of a server, for one, which was started before the training."""
    MlflowClient(path_to_sqlite_uri(str(tmp_path / "mlruns.db"))).search_experiments()
    prepare_run_folder(tmp_path)
    assert (tmp_path / "mlruns.db").exists()


def test_what_is_no_store_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mlruns.db").write_text("no data base " * 100)
    with pytest.raises(InputError, match="cannot be read as the SQLite store of MLflow"):
        prepare_run_folder(tmp_path)
    assert (tmp_path / "mlruns.db").exists()


@pytest.mark.parametrize("prepare", [prepare_run_folder, prepare_empty_folder])
def test_a_folder_in_which_another_training_is_at_work(prepare: Callable[[Path], Path], tmp_path: Path) -> None:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        prepare(tmp_path)
        os.write(write, b"!")
        signal.pause()
    os.read(read, 1)
    try:
        with pytest.raises(InputError, match=rf"Process {process} on .* is writing to "):
            prepare(tmp_path)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert prepare(tmp_path) == tmp_path
    release_folder(tmp_path)


def test_what_a_killed_training_left_half_written_is_removed(stopped: Path) -> None:
    for folder in (stopped, stopped / "checkpoints", stopped / "overlays"):
        unfinished = folder / ".unfinished_abc"
        unfinished.mkdir(parents=True)
        (unfinished / ".lock").touch()
        (unfinished / "model.pt").write_text("half")
    prepare_run_folder(stopped, resume=True)
    assert not list(stopped.rglob(".unfinished_*"))


OWN_FILES = (
    *(".lock", ".writer.json", "train.log", "losses.csv", "metrics.csv", "executed_config.json", "manifest.json"),
    *("curves.png", "mlruns.db", "model.pt", "config.json", "checkpoints/last.pt", "checkpoints/previous.pt"),
)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", OWN_FILES)
def test_something_else_in_the_place_of_an_own_file(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    make(tmp_path / name)
    kind = "a pipe" if make is os.mkfifo else "a folder"
    before = sorted(tmp_path.rglob("*"))
    for prepare in (
        lambda: prepare_run_folder(tmp_path, resume=True),
        lambda: prepare_run_folder(tmp_path, overwrite=True),
        lambda: prepare_empty_folder(tmp_path, overwrite=True),
    ):
        with pytest.raises(InputError, match=rf"{name} is {kind}.*; expected a file"):
            prepare()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["checkpoints", "overlays"])
def test_a_file_in_the_place_of_an_own_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"{name} is a file; expected a folder"):
        prepare_run_folder(tmp_path, resume=True)


def test_overwrite_removes_the_tables_of_the_former_model(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = stopped / "evaluation" / "testing"
    report.mkdir(parents=True)
    for name in (
        "metrics_cases.csv",
        "metrics_summary.json",
        "reliability.png",
        "expected_dice.csv",
        "case_seg.png",
        "notes.txt",
    ):
        (report / name).touch()
    prepare_run_folder(stopped, overwrite=True)
    clear_run_folder(stopped)
    assert sorted(file.name for file in report.iterdir()) == ["case_seg.png", "notes.txt"]
    assert "label maps there are the former model's" in caplog.text
