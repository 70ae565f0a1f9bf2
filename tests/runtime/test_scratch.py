from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from torch.multiprocessing import start_processes

from leaf_seg.runtime import scratch
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder


def test_an_interruption_while_the_folder_is_removed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = shutil.rmtree, []

    def interrupted(folder: Path, **options: Any) -> None:
        calls.append(folder)
        if len(calls) == 1:
            raise KeyboardInterrupt
        original(folder, **options)

    def use() -> None:
        with scratch_folder(tmp_path, ".unfinished_") as folder:
            (folder / "part").write_text("half")
            monkeypatch.setattr(scratch.shutil, "rmtree", interrupted)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())


def _begin_and_clean(number: int, folder: Path, end: float) -> None:
    while time.monotonic() < end:
        remove_abandoned(folder, ".unfinished_")
        with scratch_folder(folder, ".unfinished_") as own:
            (own / "part").write_text("half")
            assert (own / "part").read_text() == "half"


def test_what_another_process_has_just_made_is_not_abandoned(tmp_path: Path) -> None:
    """Several write to a folder, and each first cleans it."""
    start_processes(_begin_and_clean, (tmp_path, time.monotonic() + 1), nprocs=2, start_method="fork")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    for name in (".unfinished_locked", ".unfinished_empty", ".unfinished_own", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / ".unfinished_locked" / ".lock").touch()
    (tmp_path / ".unfinished_locked" / "part").touch()
    (tmp_path / ".unfinished_own" / "notes").touch()
    with scratch_folder(tmp_path, ".unfinished_") as used:
        assert remove_abandoned(tmp_path, ".unfinished_") == 2
        assert {path.name for path in tmp_path.iterdir()} == {".unfinished_own", "other", used.name}
    assert [path.name for path in (tmp_path / ".unfinished_own").iterdir()] == ["notes"]
