"""The state of every random generator of the process."""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import torch

from leaf_seg.runtime.distributed import num_processes

logger = logging.getLogger(__name__)


def random_state() -> dict[str, Any]:
    """State of the generators of Python, NumPy and PyTorch (CPU, CUDA, MPS), as tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`random_state` returned; a warning says when the generators of devices cannot be."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and num_processes() > 1:  # all draw the same, and rank 0, which saved it, has the first device
        torch.cuda.set_rng_state(state["cuda"][0].cpu())
    elif "cuda" in state:
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([device_state.cpu() for device_state in state["cuda"]])
        else:
            _warn(f"{len(state['cuda'])} CUDA devices", f"{torch.cuda.device_count()} here")
    if "mps" in state:
        if torch.backends.mps.is_available():
            torch.mps.set_rng_state(state["mps"].cpu())
        else:
            _warn("an MPS device", "none here")


def _warn(found: str, expected: str) -> None:
    logger.warning("The random state is one of %s; there are %s: what is drawn on them will differ.", found, expected)
