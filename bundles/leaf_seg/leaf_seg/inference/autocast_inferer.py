"""Autocast for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer

from leaf_seg.runtime.precision import autocast


class AutocastInferer(SimpleInferer):
    """MONAI's SimpleInferer under autocast of the input's device; used by the trainer.

    Args:
        precision: "fp32", "bf16" or "fp16".
    """

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``network(inputs, *args, **kwargs)`` in the precision set."""
        with autocast(inputs.device, self.precision):
            return super().__call__(inputs, network, *args, **kwargs)
