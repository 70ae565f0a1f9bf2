"""Reads the tensors of a file that somebody else has made, without running what may be in it."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.assembly import State

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
SAFE_SUFFIX = ".safetensors"


class _Unused:
    """Stands for a class of PyTorch Lightning that checkpoints of its time name as a key, and that is of no use."""


# The published LDM checkpoints keep the state of callbacks under their classes. Only the names are looked up.
_KNOWN_GLOBALS: list[Any] = [(_Unused, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")]


def read_tensors(file: str | os.PathLike[str]) -> State:
    """Read a state dictionary from a safetensors file, or from what ``torch.save`` wrote, on the CPU.

    The tensors are mapped from the file, not copied. Of a training checkpoint the entry "state_dict" (PyTorch
    Lightning, LDM) or "model" is taken.

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
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        return _read_pickle(path)
    raise InputError(
        f"{path} is a file of the kind {path.suffix or 'without suffix'!r}; expected weights, {SAFE_SUFFIX} or "
        f"{', '.join(PICKLE_SUFFIXES)}."
    )


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> State:
    with torch.serialization.safe_globals(_KNOWN_GLOBALS):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except pickle.UnpicklingError as error:
            if "global" not in str(error).lower():
                raise _damaged(path, error) from error
            names = ", ".join(re.findall(r"GLOBAL ([\w.]+)", str(error))) or "names of functions or classes"
            raise InputError(
                f"{path} holds more than weights ({names}), and loading such a pickle can run code of its "
                "author: it was not loaded. Expected tensors and plain values. If you trust the file, load it "
                "yourself and save its state dictionary with safetensors."
            ) from error
        except Exception as error:  # damage shows in many kinds
            raise _damaged(path, error) from error
    return _state_dict(content, path)


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


def _is_zip(path: Path) -> bool:
    """Whether torch.load can map the file; older checkpoints are plain pickles."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read as weights ({_gist(error)}): it is damaged, incomplete or of another kind. Restore "
        "it, or download it again."
    )


def _gist(error: Exception) -> str:
    """What a library's message says was found, without its advice, which is to load pickles that may run code."""
    _, marker, found = str(error).partition("WeightsUnpickler error:")
    lines = (found if marker else str(error)).strip().splitlines()
    gist = lines[0].strip() if lines else ""
    return gist if " " in gist else type(error).__name__  # a KeyError says no more than a number
