from __future__ import annotations

import logging
import os
import pickle
import re
import sys
import types
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import CheckpointFolder
from leaf_seg.weights.tensor_file import read_tensors
from tests.faults.limited import MB, run_limited

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


def pickled(*calls: bytes) -> bytes:
    """A pickle of protocol 2 that calls one function after the other; the values are in a list."""
    return b"\x80\x02]" + b"".join(call + b"a" for call in calls) + b"."


def legacy(content: bytes) -> bytes:
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + content + pickle.dumps([], 2)


def put(number: int) -> bytes:
    return b"r" + number.to_bytes(4, "little")


def get(number: int) -> bytes:
    return b"j" + number.to_bytes(4, "little")


def doubled(times: int, empty: bytes) -> bytes:
    """A list or tuple that holds another one twice, which holds ...: 2 ** times values."""
    if empty == b")":
        return b")" + put(0) + b"".join(get(i) + b"\x86" + put(i + 1) for i in range(times))
    return b"]" + put(0) + b"".join(b"](" + get(i) * 2 + b"e" + put(i + 1) for i in range(times))


def doubled_from_above(times: int) -> bytes:
    """The same, of which the outer lists are filled before the inner ones."""
    lists = b"".join(b"]" + put(i) for i in range(times + 1))
    return lists + b"".join(get(i) + b"(" + get(i + 1) * 2 + b"e" for i in range(times)) + get(0)


NAMELESS = b")R"  # calls what lies on the stack, which is told in the message of the error
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%sX\x03\x00\x00\x00cpuK\x01tQ"
TEXT = b"](X\x00\x00\x08\x00" + b"x" * 2**19 + b"q\x00" + b"h\x00" * 200_000 + b"e"  # 100 GB to print
BYTES = b"cbuiltins\nbytearray\nJ\x00\x00\x00\x30\x85R"  # bytearray(768 MB)
CODEC = b"c_codecs\nencode\nX\x02\x00\x00\x0061X\x09\x00\x00\x00hex_codec\x86R"
COPIES = b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01s\x85R"
SHAPE = b"(" + b"K\x01" * 3000 + b"t"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (BYTES, r"more than weights \(builtins.bytearray\)"),
        (CODEC, r"more than weights \(_codecs.encode\)"),
        (COPIES, "dictionaries that are copied"),
        (b"ccollections\nOrderedDict\nq\x00)R" + b"ah\x00}\x85R", "dictionaries that are copied"),
        (SHAPE, "a tuple of 3000 items"),
        (doubled(60, b"]") + NAMELESS, "repeated without end"),
        (doubled(60, b"]") + b")\x81", "repeated without end"),
        (doubled_from_above(60) + NAMELESS, "changed after they were used"),
        (TEXT + NAMELESS, "repeated without end"),
        (b"}" + doubled(60, b")") + b"K\x01s", "repeated without end"),  # to hash it takes for ever
        (STORAGE % doubled(60, b")"), "repeated without end"),
        (b"X\x00\x00\x00\xf0abc", "cannot be read as weights"),  # 4 GB that are not there
        (b"\x8a\xff" + b"\x7f" * 255 + put(2**31 - 1), "holds no state dictionary"),  # nothing grows
        (b"h\x07", "cannot be read as weights"),
        (b"(e", "a value is missing"),
        (b"a", "a value is missing"),
        (b"te", "a mark is missing"),
    ],
)
def test_pickles_that_grow_are_refused_before_they_are_loaded(call: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(legacy(pickled(call)))
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled(call))
        archive.writestr("a/version", "3\n")
    for file in tmp_path.iterdir():
        outcome = run_limited(partial(refused, file), memory=256 * MB)
        assert outcome.code == 2, outcome.err
        assert re.search(message, outcome.out), outcome.out
        assert outcome.peak < 200 * MB
        assert outcome.seconds < 20


def refused(file: Path) -> int:
    try:
        read_tensors(file)
    except InputError as error:
        sys.stdout.write(str(error))
        return 2
    return 0


def test_a_checkpoint_that_grows_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "last.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled(BYTES))
        archive.writestr("a/version", "3\n")

    def load() -> int:
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
        with pytest.raises(InputError, match="damaged, and there is no other"):
            CheckpointFolder(tmp_path).load()
        return 0

    outcome = run_limited(load, memory=256 * MB)
    assert outcome.code == 0, outcome.err
    assert "builtins.bytearray" in outcome.err
