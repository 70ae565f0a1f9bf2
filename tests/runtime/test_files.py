from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from leaf_seg.runtime import files
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, remove_unfinished, replacing
from leaf_seg.runtime.plain import plain_message
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from tests.faults.limited import run_limited

LIMIT = 20_000  # bytes of a file, as on a disk with no more space


def write_too_much(path: Path, write: Callable[[Path], None]) -> str:
    """The error of writing in a process whose files may not be larger."""

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        try:
            with replacing(path, 80_000) as temporary:
                write(temporary)
        except InputError as error:
            print(error)  # noqa: T201
            return 3
        return 0

    outcome = run_limited(limited)
    assert outcome.code == 3, outcome.err
    return outcome.out


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save({"a": torch.zeros(20_000)}, path),
        lambda path: save_file({"a": torch.zeros(20_000)}, path),
        lambda path: path.write_bytes(b"x" * 80_000),
    ],
    ids=["torch", "safetensors", "Python"],
)
def test_no_space_is_said_in_one_line_whichever_library_writes(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("former")
    message = write_too_much(path, write)
    assert message.startswith(f"Cannot write {path} (")
    assert f"0.1 MB are needed and {files._megabytes(0)[-2:]}" not in message
    assert "0.1 MB are needed and " in message
    assert f" MB are free in {tmp_path}. " in message
    assert message.count("\n") == 1
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["model.pt"]


def test_other_errors_in_the_block_stay_what_they_are(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a.txt"):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fail()
    assert not list(tmp_path.iterdir())


def leave_unfinished(folder: Path, name: str) -> int:
    """Let a process be killed while it writes a file."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        with replacing(folder / name) as temporary:
            temporary.write_text("half")
            os.write(write, b"!")
            signal.pause()
    os.read(read, 1)
    return process


def test_what_a_killed_process_left_is_no_file_of_the_folder_and_is_removed(tmp_path: Path) -> None:
    process = leave_unfinished(tmp_path, "case_epoch_0002.png")
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "the process lives"
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert not list(tmp_path.glob("*.png"))
    (unfinished,) = tmp_path.iterdir()
    assert unfinished.stat().st_mode & 0o077 == 0, "nobody else may look at it"
    files._remove_unfinished_once.cache_clear()
    with replacing(tmp_path / "other.txt") as temporary:  # by the next that writes there
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_scratch_folders_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "slices_of_mine").mkdir()  # no scratch folder: somebody's own
    (tmp_path / "slices_of_mine" / "a.npy").write_text("a")
    with scratch_folder(tmp_path, "slices_") as folder:
        assert remove_abandoned(tmp_path, "slices_") == 0
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["slices_of_mine"]


def test_a_full_disk_is_found_behind_other_errors(tmp_path: Path) -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a.png"))
        except OSError as error:
            raise RuntimeError("Failed to evaluate '$...'") from error
    except RuntimeError as error:
        message = plain_message(error)
    assert message is not None
    assert message.startswith(f"Cannot write {tmp_path / 'a.png'} (No space left on device); ")
    assert plain_message(RuntimeError("a bug")) is None


def test_a_folder_on_a_full_disk() -> None:
    with pytest.raises(InputError, match=r"/dev/full|output folder"):
        ensure_writable_folder("/dev/full")


def test_what_is_only_looked_at_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with decoration("The overlay of case 7"):
        raise InputError("no space\nand more")
    assert "The overlay of case 7 failed (InputError: no space and more); the run goes on without it." in caplog.text
    with pytest.raises(KeyboardInterrupt), decoration("The overlay"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("folder", ["~", "~/runs", Path("~") / "a" / "b"])
def test_a_home_folder_that_no_shell_has_put_in(
    folder: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="whose ~ the shell has not replaced"):
        ensure_writable_folder(folder)
    assert not list(tmp_path.iterdir()), "no folder of that name"
    ensure_writable_folder("~a")
    ensure_writable_folder(tmp_path / "~")


def test_permissions_are_found_behind_other_errors() -> None:
    try:
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "/data/losses.csv")
        except OSError as error:
            raise RuntimeError("Failed to evaluate '$...'") from error
    except RuntimeError as error:
        message = plain_message(error)
    assert message is not None
    assert message.startswith("/data/losses.csv: cannot be read or written (Permission denied); expected ")
    assert plain_message(PermissionError("of no file")) is None
