"""Lets torchvision be imported beside a PyTorch that its compiled library does not fit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # operators live as long as their library


def declare_missing_operators() -> None:
    """Declare the operators that torchvision expects of its compiled library, where that cannot be loaded.

    MONAI Label imports torchvision for drawing only. Where a CUDA build of it stands beside a CPU build of PyTorch, its
    import fails for want of these two operators, which nothing here calls.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _declared:
        return
    libraries = list(Path(spec.origin).parent.glob("_C.*"))
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        _declared.append(torch.library.Library("torchvision", "FRAGMENT"))
        for schema in _SCHEMAS:
            _declared[0].define(schema)
