from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaf_seg.errors import InputError
from leaf_seg.tracking import prepare_run_folder
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
    ("content", "found"), [("model", "a trained model"), ("stopped", "a training that was stopped")]
)
def test_training_over_another_is_refused(content: str, found: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(content)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=f"already holds {found}.*--resume true.*--overwrite true"):
        prepare_run_folder(folder)
    assert sorted(folder.rglob("*")) == before


def test_overwrite_removes_the_former_run_and_keeps_its_model(model: Path, stopped: Path) -> None:
    prepare_run_folder(stopped, overwrite=True)
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


@pytest.mark.parametrize(
    ("statements", "kept"),
    [
        ([], False),
        (["CREATE TABLE experiments (id)"], False),
        (["CREATE TABLE runs (id)"], False),
        (["CREATE TABLE runs (id)", "INSERT INTO runs VALUES (1)"], True),
    ],
)
def test_a_store_without_runs_is_made_anew(statements: list[str], kept: bool, tmp_path: Path) -> None:
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
