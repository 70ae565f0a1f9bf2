"""Looks through a pickle before it is loaded: what it calls must be what tensors need, and nothing that grows.

PyTorch's own restricted loading runs no code of others, but it calls ``bytearray(N)`` and codecs: a file of a few
hundred bytes takes all memory.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import IO, Any, cast

import torch

from leaf_seg.weights.pickle_growth import Growth

_MAX_CALLS = 1_000_000
_LEGACY_PARTS = 5  # pickles in a file of before PyTorch 1.6: magic number, version, system, content, keys
_MEMORY_FREE = (
    *("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_tensor", "_rebuild_tensor_v2"),
    *("_rebuild_tensor_v3", "_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_nested_tensor"),
    *("_rebuild_meta_tensor_no_storage", "_rebuild_wrapper_subclass"),
)  # they put tensors around numbers that are there
_ORDERED_DICT = "collections.OrderedDict"
_SIZE = "torch.Size"  # of sparse and nested tensors; with whole numbers that stand there, not a list again and again
_IN_SIZE = ("BININT", "BININT1", "BININT2", "MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "REDUCE")
_UNTYPED = "torch.storage.UntypedStorage"  # named before the key of a storage; called, it takes memory
_ALLOWED = {
    _ORDERED_DICT,
    _SIZE,
    _UNTYPED,
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    *(f"torch._utils.{name}" for name in _MEMORY_FREE),
    *(f"torch.{name}" for name, value in vars(torch).items() if isinstance(value, (torch.dtype, torch.qscheme))),
    *(f"torch.{name}" for name in vars(torch) if name.endswith("Storage")),
}


def check_pickles(path: Path, is_zip: bool, known: frozenset[str] = frozenset()) -> None:
    """Refuse what ``torch.save`` does not write of tensors and plain values.

    Args:
        path: of an archive whose list of tensors has been found small, or of a pickle of before PyTorch 1.6.
        is_zip: which of the two.
        known: further names that may be looked up.

    Raises:
        pickle.UnpicklingError: Names the function or class, as PyTorch does.
        ValueError: When the pickle is none, or is built to grow.
    """
    if is_zip:
        record = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")  # the very bytes that are loaded
        _check_pickle(io.BytesIO(record), _ALLOWED | known)
        return
    with path.open("rb") as file:
        for _ in range(_LEGACY_PARTS):
            _check_pickle(file, _ALLOWED | known)


def _check_pickle(file: IO[bytes], allowed: set[str]) -> None:
    names: dict[int, str | None] = {}  # what the memo holds
    pushed: str | None = None  # the name on top of the stack, if there is one
    expected: tuple[str, ...] = ()  # next operations
    growth = Growth()
    num_calls, in_size = 0, False
    for operation, found, position in pickletools.genops(file):
        name, argument = operation.name, cast(Any, found)
        growth.follow(operation, argument, position or 0)
        if name in ("BINPUT", "LONG_BINPUT"):
            names[argument] = pushed
            continue
        if expected and name != expected[0]:
            raise ValueError("dictionaries that are copied")
        if in_size and name not in _IN_SIZE:
            raise ValueError("shapes that are copied")
        in_size = in_size and name != "REDUCE"
        expected = expected[1:]
        pushed = None
        if name == "GLOBAL":
            pushed = argument.replace(" ", ".", 1)
            if pushed not in allowed:
                raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {pushed} was not expected")
        elif name in ("BINGET", "LONG_BINGET"):
            pushed = names.get(argument)
        elif name in ("REDUCE", "NEWOBJ"):
            num_calls += 1
        if pushed == _ORDERED_DICT:
            expected = ("EMPTY_TUPLE", "REDUCE")
        if pushed == _UNTYPED:
            expected = ("BINUNICODE",)
        in_size = in_size or pushed == _SIZE
        if num_calls > _MAX_CALLS:
            raise ValueError(f"more than {_MAX_CALLS} calls of functions")
