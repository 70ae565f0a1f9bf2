from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import CheckpointFolder


def state(step: int) -> dict[str, Any]:
    return {"step": step, "tensor": torch.full((1000,), float(step))}


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointFolder:
    """Three checkpoints were saved; the last two are there."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        folder.save(state(step))
    return folder


def loaded_step(checkpoints: CheckpointFolder) -> int | None:
    loaded = checkpoints.load()
    assert loaded is None or torch.equal(loaded["tensor"], state(loaded["step"])["tensor"])
    return None if loaded is None else loaded["step"]


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:  # one bit of the tensor
        place = content.index(torch.full((4,), 3.0).numpy().tobytes()) + 50
        content[place] ^= 1
    file.write_bytes(content)


def test_the_last_is_loaded_and_the_one_before_is_kept(checkpoints: CheckpointFolder) -> None:
    assert sorted(file.name for file in checkpoints.folder.iterdir()) == ["last.pt", "previous.pt"]
    assert loaded_step(checkpoints) == 3
    assert torch.load(checkpoints.folder / "previous.pt", weights_only=True)["step"] == 2


@pytest.mark.parametrize("how", ["cut", "empty", "bit"])
def test_a_damaged_last_is_reported_and_the_one_before_used(
    how: str, checkpoints: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    damage(checkpoints.folder / "last.pt", how)
    assert loaded_step(checkpoints) == 2
    assert "last.pt is damaged and not used" in caplog.text
    checkpoints.save(state(4))
    assert torch.load(checkpoints.folder / "previous.pt", weights_only=True)["step"] == 2  # the damaged one did not


def test_stopped_between_the_two_renames(checkpoints: CheckpointFolder) -> None:
    os.replace(checkpoints.folder / "last.pt", checkpoints.folder / "previous.pt")
    assert loaded_step(checkpoints) == 3


def test_all_damaged(checkpoints: CheckpointFolder) -> None:
    for file in checkpoints.folder.iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"last.damaged and .*previous.damaged: damaged.*--overwrite true"):
        checkpoints.load()


def test_none(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path / "none")
    assert not checkpoints.exist()
    assert checkpoints.load() is None
    assert not checkpoints.folder.exists()


def test_a_disk_that_is_full_leaves_both(checkpoints: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        checkpoints.save(state(4))
    assert loaded_step(checkpoints) == 3
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_clear(checkpoints: CheckpointFolder) -> None:
    checkpoints.clear()
    assert not checkpoints.exist()
    assert not list(checkpoints.folder.iterdir())
