"""The last two checkpoints of a training."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.runtime.termination import raise_if_interrupted
from leaf_seg.runtime.text import first_line
from leaf_seg.weights.pickle_check import check_pickles

logger = logging.getLogger(__name__)

LAST_NAME = "last.pt"
PREVIOUS_NAME = "previous.pt"


class CheckpointFolder:
    """A folder with ``last.pt`` and the checkpoint before it, ``previous.pt``.

    A checkpoint is written under another name, flushed to the disk, and then renamed: whenever the process or the
    machine stops, at least one whole checkpoint stays.

    Args:
        folder: made when the first checkpoint is saved.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def save(self, state: dict[str, Any]) -> None:
        """Save tensors and plain values as the last checkpoint; the former last becomes the previous one.

        Raises:
            InputError: When the folder cannot be written to.
        """
        folder = ensure_writable_folder(self.folder)
        last = folder / LAST_NAME
        with replacing(last, _num_bytes(state)) as temporary:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if last.exists():
                os.replace(last, folder / PREVIOUS_NAME)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint on the CPU, or the one before it where the last is damaged; None where there is none.

        Raises:
            InputError: When there are checkpoints and all are damaged.
        """
        damaged = []
        for path in (self.folder / LAST_NAME, self.folder / PREVIOUS_NAME):
            if not path.is_file():
                continue
            try:
                state = _load_whole(path)
            except Exception as error:  # damage shows in many kinds
                raise_if_interrupted()
                damaged.append(path.replace(path.with_suffix(".damaged")))  # or it would become the previous one
                logger.error("The checkpoint %s is damaged and not used (%s).", path, first_line(error))
            else:
                logger.info("Resuming from %s.", path)
                return state
        if damaged:
            raise InputError(
                f"{' and '.join(map(str, damaged))}: damaged, and there is no other checkpoint to resume from. Restore "
                "one from a backup, or start anew with --overwrite true."
            )
        return None

    def exist(self) -> bool:
        """Whether there is a checkpoint, whole or damaged."""
        return any((self.folder / name).is_file() for name in (LAST_NAME, PREVIOUS_NAME))

    def clear(self) -> None:
        """Remove all checkpoints."""
        for name in (LAST_NAME, PREVIOUS_NAME):
            (self.folder / name).unlink(missing_ok=True)


def _num_bytes(state: Any) -> int:
    """Size of the tensors in a state, which is nearly that of its file."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_num_bytes, state.values()))
    return sum(map(_num_bytes, state)) if isinstance(state, (list, tuple)) else 0


def _load_whole(path: Path) -> dict[str, Any]:
    """Load a checkpoint after checking its sums, as torch.load would take flipped bits for weights, and its calls."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
    check_pickles(path, is_zip=True)
    return torch.load(path, map_location="cpu", weights_only=True)
