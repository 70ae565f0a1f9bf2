"""A folder of tensors, one a file, that does not grow beyond a limit."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load, save

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, ensure_writable_folder, remove_unfinished, scratch_beside, writing
from leaf_seg.runtime.tensors import add_to_digest, memory_order, permuted_back

logger = logging.getLogger(__name__)

_TENSOR, _ORDER, _DIGEST = "tensor", "order", "sha256"


class TensorStore:
    """Tensors by name, whole or not there, also when a process is killed; several processes may share the folder.

    What is in the folder at the start counts. Nothing is taken out to make room. A tensor comes back with the same
    order of its dimensions in memory, in which random numbers like it are drawn.

    Args:
        folder: made where needed.
        limit: bytes that the files may have, all together.
        num_writers: processes that fill the folder together; each may add its share of what is free at its start.

    Attributes:
        is_full: whether a tensor did not fit: nothing more is added.

    Raises:
        InputError: When the folder cannot be made or written to.
    """

    def __init__(self, folder: PathLike, limit: float, num_writers: int = 1) -> None:
        self.folder = ensure_writable_folder(folder)
        self.limit = limit
        self.is_full = False
        remove_unfinished(self.folder)
        self._free = (limit - self.measure()[1]) / num_writers

    def measure(self) -> tuple[int, int]:
        """Number of files in the folder, whoever has written them, and their bytes."""
        number = size = 0
        for root, _, names in os.walk(self.folder):
            for name in names:
                found = _size(Path(root, name))
                number, size = number + (found > 0), size + found
        return number, size

    def __contains__(self, name: str) -> bool:
        try:
            return (self.folder / name).is_file()
        except OSError:  # in a folder of somebody else
            return False

    def get(self, name: str) -> torch.Tensor | None:
        """The tensor of that name, on the CPU; None when there is none.

        A damaged file is removed, which is told: whoever computes the tensor again may add it.

        Args:
            name: path within the folder.
        """
        file = self.folder / name
        try:
            content = file.read_bytes()
        except OSError:  # not there, or of somebody else
            return None
        tensor = _unpacked(name, content)
        if tensor is None:
            logger.warning("%s is damaged: what was in it is computed again.", file)
            with suppress(OSError):
                file.unlink()
                self._free += len(content)
        return tensor

    def add(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write tensors until one does not fit, or cannot be written, which is told; from then on none.

        Args:
            tensors: by their names, paths within the folder.
        """
        if self.is_full:
            return
        try:
            self._write(tensors)
        except InputError as error:
            self.is_full = True
            logger.warning("%s Nothing more is kept there; what is not is computed in every step.", error)

    def _write(self, tensors: Mapping[str, torch.Tensor]) -> None:
        with writing(self.folder), scratch_beside(self.folder) as scratch:
            for name, tensor in tensors.items():
                content = _packed(name, tensor)
                if len(content) > self._free:
                    self.is_full = True
                    return
                file = self.folder / name
                with writing(file, len(content)):
                    file.parent.mkdir(exist_ok=True)
                    (scratch / file.name).write_bytes(content)
                    os.replace(scratch / file.name, file)
                self._free -= len(content)


def _packed(name: str, tensor: torch.Tensor) -> bytes:
    """Content of a file, with a checksum over it and its name."""
    tensor = tensor.detach().cpu()
    order = memory_order(tensor)
    digest = torch.frombuffer(bytearray(_digest(name, tensor, order)), dtype=torch.uint8)
    return save({_TENSOR: tensor.permute(order).contiguous(), _ORDER: torch.tensor(order), _DIGEST: digest})


def _unpacked(name: str, content: bytes) -> torch.Tensor | None:
    """The tensor, or None when the content is not what was written under the name."""
    try:
        found = load(content)
        order: list[int] = found[_ORDER].tolist()
        tensor = permuted_back(found[_TENSOR], order)
        return tensor if bytes(found[_DIGEST].numpy()) == _digest(name, tensor, order) else None
    except Exception:  # damage shows in many kinds
        return None


def _digest(name: str, tensor: torch.Tensor, order: list[int]) -> bytes:
    digest = hashlib.sha256(f"{name} {order} ".encode())
    add_to_digest(digest, tensor)
    return digest.digest()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # another process has just moved it
        return 0
