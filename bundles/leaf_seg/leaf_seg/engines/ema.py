"""Exponential moving average of the trainable weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.training_utils import EMAModel
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from leaf_seg.engines.share_of_steps import ShareOfSteps


class _Average(EMAModel):
    """diffusers' average, with PyTorch's update: in place, in one pass over the weights."""

    def step(self, parameters: Iterable[nn.Parameter]) -> None:
        self.optimization_step += 1
        self.cur_decay_value = self.get_decay(self.optimization_step)
        get_ema_multi_avg_fn(self.cur_decay_value)(self.shadow_params, list(parameters), self.optimization_step)


class WeightAverage:
    """diffusers' EMAModel over what trains: U-Net and image encoder.

    Differs from the published code, whose average covers the U-Net only.

    Args:
        network: already on its device; only parameters that require gradients are averaged.
        decay: upper bound of the decay; it starts lower, (1 + step) / (10 + step). Or how many steps the average looks
            back, h, which depends on the steps there are: then the bound is 1 - 1 / h.
    """

    def __init__(self, network: nn.Module, decay: float | ShareOfSteps = 0.9999) -> None:
        self._parameters = trainable_parameters(network)
        self._horizon = decay if isinstance(decay, ShareOfSteps) else None
        bound = 1 - 1 / decay.at_most if isinstance(decay, ShareOfSteps) else decay
        self._average = _Average(self._parameters, decay=bound, foreach=True)

    def plan(self, num_steps: float) -> None:
        """Fit the decay to the optimiser steps that the training is to have; one that was given as such stays."""
        if self._horizon is not None:
            self._average.decay = 1 - 1 / max(1.0, self._horizon.of(num_steps))

    def step(self) -> None:
        """Take the present weights into the average; after every optimiser step."""
        self._average.step(self._parameters)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the network for the time of a ``with`` block."""
        self._average.store(self._parameters)
        self._average.copy_to(self._parameters)
        try:
            yield
        finally:
            self._average.restore(self._parameters)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint; the average stays on the network's device."""
        self._average.load_state_dict(state)
        self._average.to(self._parameters[0].device)


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that require gradients, in the network's order."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
