"""What trains, in groups of their own learning rates."""

from __future__ import annotations

from typing import Any

from torch import nn

from leaf_seg.engines.ema import trainable_parameters
from leaf_seg.runtime.distributed import bare
from leaf_seg.runtime.errors import InputError


def parameter_groups(network: nn.Module, part: str, learning_rate: float, factor: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups of an optimiser: one part of the network learns at another rate.

    Args:
        network: on its device.
        part: name of a module in it, such as ``unet.class_embedding``.
        learning_rate: of the optimiser, and so of the first group, which is all the rest.
        factor: by which the part's rate is greater.

    Raises:
        InputError: When the network has no such part, or it does not train.
    """
    modules = dict(bare(network).named_modules())
    own = trainable_parameters(modules[part]) if part in modules else []
    if not own:
        raise InputError(f"The {type(bare(network)).__name__} has no part {part!r} that trains; expected one.")
    of_part = {id(parameter) for parameter in own}
    rest = [parameter for parameter in trainable_parameters(network) if id(parameter) not in of_part]
    return [{"params": rest}, {"params": own, "lr": learning_rate * factor}]
