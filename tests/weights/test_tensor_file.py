from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.tensor_file import read_tensors

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def assert_state(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_reads_safetensors_and_torch_files(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "a.pth")
    torch.save({"state_dict": STATE, "epoch": 3, "lr": 0.1}, tmp_path / "a.ckpt")
    torch.save({"model": STATE}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for file in tmp_path.iterdir():
        assert_state(read_tensors(file))


def test_a_pickle_with_code_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    for name, new in (("new.ckpt", True), ("old.ckpt", False)):
        trace = tmp_path / f"ran_{name}"
        torch.save({"state_dict": STATE, "x": Payload(trace)}, tmp_path / name, _use_new_zipfile_serialization=new)
        with pytest.raises(InputError, match=r"posix.system.*can run code.*was not loaded") as error:
            read_tensors(tmp_path / name)
        assert "safe_globals" not in str(error.value)
        assert not trace.exists()
        torch.load(tmp_path / name, weights_only=False)  # it would have run
        assert trace.exists()


def test_names_of_lightning_classes_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As LDM's checkpoints have them: the state of a callback under its class, which is not installed here."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore[attr-defined]
    for index in range(1, 4):
        part = ".".join(name.split(".")[:index])
        monkeypatch.setitem(sys.modules, part, module if part == name else types.ModuleType(part))
    torch.save({"state_dict": STATE, "callbacks": {module.ModelCheckpoint: {"best": 1.0}}}, tmp_path / "a.ckpt")
    monkeypatch.undo()
    assert_state(read_tensors(tmp_path / "a.ckpt"))


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt"])
def test_damage_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    save_file(STATE, file) if file.suffix == ".safetensors" else torch.save(STATE, file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
        read_tensors(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), "cannot be read as weights"),
        (b"PNG and so on", "cannot be read as weights"),
        (b"", "cannot be read as weights"),
    ],
)
def test_other_contents(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_tensors(tmp_path / "a.pt")
    assert "weights_only" not in str(error.value)  # PyTorch's advice is to switch it off


def test_what_is_no_state_dictionary(tmp_path: Path) -> None:
    for content in ([1, 2], {}, {0: torch.zeros(2)}, {"a": 1}):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(InputError, match="holds no state dictionary"):
            read_tensors(tmp_path / "a.pt")
    with pytest.raises(InputError, match="No file"):
        read_tensors(tmp_path / "b.pt")
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"file of the kind '.png'"):
        read_tensors(tmp_path / "a.png")
