"""Reads the tensors of a file that somebody else has made, without running what may be in it."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line
from leaf_seg.weights.assembly import State
from leaf_seg.weights.pickle_check import check_pickles

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
SAFE_SUFFIX = ".safetensors"
MAX_TENSORS = 100_000
_MAX_HEADER = 64 * 1024**2  # bytes that list the tensors
_MAX_SHARES = 4  # times that tensors may hold the numbers of the file, as where a module has two names
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


class _Unused:
    """Stands for a class of PyTorch Lightning that checkpoints of its time name as a key, and that is of no use."""


# The published LDM checkpoints keep the state of callbacks under their classes. Only the names are looked up.
_KNOWN_GLOBALS: list[Any] = [(_Unused, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")]


def read_tensors(file: str | os.PathLike[str]) -> State:
    """Read a state dictionary from a safetensors file, or from what ``torch.save`` wrote, on the CPU.

    The tensors are mapped from the file, not copied. Of a training checkpoint the entry "state_dict" (PyTorch
    Lightning, LDM) or "model" is taken. Tensors are plain and real, and no larger than the file.

    Args:
        file: ``.safetensors``, ``.ckpt``, ``.pt``, ``.pth`` or ``.bin``.

    Raises:
        InputError: When the file is missing or damaged, is of another kind, or holds more than tensors and plain
            values: such a pickle can run code, and is not loaded.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"No file {path.resolve()}; expected weights, {SAFE_SUFFIX} or {', '.join(PICKLE_SUFFIXES)}.")
    if path.suffix == SAFE_SUFFIX:
        return _plain(_read_safetensors(path), path)
    if path.suffix in PICKLE_SUFFIXES:
        return _plain(_read_pickle(path), path)
    raise InputError(
        f"{path} is a file of the kind {path.suffix or 'without suffix'!r}; expected weights, {SAFE_SUFFIX} or "
        f"{', '.join(PICKLE_SUFFIXES)}."
    )


def _read_safetensors(path: Path) -> State:
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(_MAX_HEADER, path.stat().st_size):
            raise ValueError(f"a header of {header} bytes")
        with safe_open(path, framework="pt") as opened:
            if len(opened.keys()) > MAX_TENSORS:
                raise ValueError(f"{len(opened.keys())} tensors, at most {MAX_TENSORS} expected")
        return load_file(path)
    except Exception as error:  # damage shows in many kinds
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> State:
    with torch.serialization.safe_globals(_KNOWN_GLOBALS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kinds of tensors that are refused below
        try:
            is_zip = _check_archive(path)
            check_pickles(path, is_zip, frozenset(name for _, name in _KNOWN_GLOBALS))
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        except pickle.UnpicklingError as error:
            if "global" not in str(error).lower():
                raise _damaged(path, error) from error
            names = one_line(", ".join(re.findall(r"GLOBAL ([\w.]+)", str(error))) or "names of functions or classes")
            raise InputError(
                f"{path} holds more than weights ({names}), and loading such a pickle can run code of its "
                "author: it was not loaded. Expected tensors and plain values. If you trust the file, load it "
                "yourself and save its state dictionary with safetensors."
            ) from error
        except Exception as error:  # damage shows in many kinds
            raise _damaged(path, error) from error
    return _state_dict(content, path)


def _check_archive(path: Path) -> bool:
    """Whether torch.load can map the file, of which it checks no sums; older checkpoints are plain pickles."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a compressed archive, which PyTorch does not write")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("an archive of more than is in the file")
        if any(entry.file_size > _MAX_HEADER for entry in entries if entry.filename.endswith(".pkl")):
            raise ValueError(f"a list of tensors of more than {_MAX_HEADER // 1024**2} MB")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
    return True


def _state_dict(content: Any, path: Path) -> State:
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items())
    ):
        raise InputError(
            f"{path} holds no state dictionary, alone or under the key 'state_dict' or 'model'; expected tensors by "
            "name."
        )
    return content


def _plain(state: State, path: Path) -> State:
    """The state, if its tensors are of the kinds that weights are, and in the file."""
    if len(state) > MAX_TENSORS:
        raise InputError(
            f"{path} holds {len(state)} tensors; expected the weights of a network, at most {MAX_TENSORS}."
        )
    strange = {key: kind for key, value in state.items() if (kind := _strangeness(value)) is not None}
    if strange:
        key, kind = next(iter(strange.items()))
        raise InputError(
            f"{path} holds {len(strange)} tensors that are no plain numbers ({one_line(key, 80)} is {kind}); expected "
            "dense tensors of real numbers. Save the weights in full precision, with torch.save(network.state_dict())."
        )
    held = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()}
    if sum(value.nbytes for value in state.values()) > _MAX_SHARES * sum(held.values()):
        raise InputError(f"{path} holds the same numbers under very many names; expected the weights of a network.")
    return state


def _strangeness(value: torch.Tensor) -> str | None:
    """What a tensor is that weights are not."""
    if type(value) not in (torch.Tensor, nn.Parameter):
        return f"a {type(value).__name__}"
    if value.is_nested:
        return "nested"
    if value.is_quantized:
        return "quantised"
    if value.layout is not torch.strided:
        return f"in the layout {str(value.layout).removeprefix('torch.')}"
    if value.device.type != "cpu":
        return f"without numbers, on the device {value.device}"
    if value.dtype not in _DTYPES:
        return f"of the type {str(value.dtype).removeprefix('torch.')}"
    if value.nbytes > value.untyped_storage().nbytes():
        return f"one that repeats its numbers, with the shape {tuple(value.shape)}"
    return None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read as weights ({_gist(error)}): it is damaged, incomplete or of another kind. Restore "
        "it, or download it again."
    )


def _gist(error: Exception) -> str:
    """What a library's message says was found, without its advice, which is to load pickles that may run code."""
    _, marker, found = str(error).partition("WeightsUnpickler error:")
    lines = (found if marker else str(error)).strip().splitlines()
    gist = one_line(lines[0]) if lines else ""
    return gist if " " in gist else type(error).__name__  # a KeyError says no more than a number
