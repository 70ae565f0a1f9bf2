from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.tensor_store import TensorStore

PLENTY = 1e9


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_a_tensor_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = (torch.rand(2, 3, 4) * 9).to(dtype)
    TensorStore(tmp_path, PLENTY).add({"part/a": tensor[:, 1:].transpose(0, 1)})
    store = TensorStore(tmp_path, PLENTY)
    found = store.get("part/a")
    assert found is not None
    assert found.dtype == dtype
    assert torch.equal(found, tensor[:, 1:].transpose(0, 1))
    assert found.stride() == (4, 8, 1)  # dense, in the order in which it lay in memory
    assert "part/a" in store
    assert "part/b" not in store
    assert store.get("part/b") is None
    assert [file.name for file in files(tmp_path)] == ["a"]  # nothing unfinished is left


def test_what_is_there_at_the_start_counts_whoever_has_written_it(tmp_path: Path) -> None:
    tensor = torch.zeros(100)
    TensorStore(tmp_path, PLENTY).add({"former/a": tensor})
    number, size = TensorStore(tmp_path, PLENTY).measure()
    assert number == 1
    assert size > 400
    assert size == files(tmp_path)[0].stat().st_size

    store = TensorStore(tmp_path, 3 * size)
    store.add({"new/a": tensor, "new/b": tensor, "new/c": tensor})
    assert store.is_full
    assert store.measure() == (3, 3 * size)
    assert store.get("new/b") is not None
    store.add({"new/d": torch.zeros(1)})  # nor what would fit
    assert "new/d" not in store


def test_several_writers_share_what_is_free(tmp_path: Path) -> None:
    tensor = torch.zeros(100)
    TensorStore(tmp_path / "one", PLENTY).add({"a": tensor})
    size = TensorStore(tmp_path / "one", PLENTY).measure()[1]
    stores = [TensorStore(tmp_path / "two", 4 * size, num_writers=2) for _ in range(2)]
    for index, store in enumerate(stores):
        store.add({f"{index}{letter}": tensor for letter in "abc"})
    assert stores[0].measure() == (4, 4 * size)


@pytest.mark.parametrize("damage", ["flipped", "shorter", "empty", "of another name", "another kind"])
def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    tensor = torch.rand(50)
    store = TensorStore(tmp_path, PLENTY)
    store.add({"a": tensor, "b": tensor + 1})
    limit = store.measure()[1]
    content = bytearray((tmp_path / "a").read_bytes())
    if damage == "flipped":
        content[-60] ^= 1
    contents: dict[str, bytes] = {
        "flipped": bytes(content),
        "shorter": bytes(content[:-8]),
        "empty": b"",
        "of another name": (tmp_path / "b").read_bytes(),
        "another kind": b"\x93NUMPY" + bytes(200),
    }
    (tmp_path / "a").write_bytes(contents[damage])

    store = TensorStore(tmp_path, limit)
    assert store.get("a") is None
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'a'} is damaged: what was in it is computed again."
    ]
    assert "a" not in store
    store.add({"a": tensor})  # which has its room back
    found = store.get("a")
    assert found is not None
    assert torch.equal(found, tensor)
    assert not store.is_full


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write to the output folder"):
        TensorStore(tmp_path / "file", PLENTY)


def test_a_full_disk_is_told_and_ends_the_adding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    store = TensorStore(tmp_path, PLENTY)
    monkeypatch.setattr(Path, "write_bytes", no_space)
    for _ in range(2):
        store.add({"a": torch.zeros(3)})
    (message,) = caplog.messages
    assert "No space left on device" in message
    assert store.is_full
    assert files(tmp_path) == []


def test_an_entry_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    store = TensorStore(tmp_path, PLENTY)
    (tmp_path / "a").mkdir()
    assert "a" not in store
    assert store.get("a") is None


def test_a_killed_process_leaves_nothing_half_written(tmp_path: Path) -> None:
    program = (
        "import sys, itertools, torch\n"
        "from leaf_seg.runtime.tensor_store import TensorStore\n"
        "store = TensorStore(sys.argv[1], 1e9)\n"
        "for i in itertools.count():\n"
        "    store.add({f'{i % 7}/{i}': torch.full((40_000,), i)})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "3").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()

    store = TensorStore(tmp_path, PLENTY)
    names = [str(file.relative_to(tmp_path)) for file in files(tmp_path)]
    assert len(names) > 3
    for name in names:
        tensor = store.get(name)
        assert tensor is not None
        assert tensor.eq(int(name.split("/")[1])).all()
