"""A network made ready to segment fast: half-precision weights, channels last, compiled or captured."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from leaf_seg.inference.fixed_sizes import CapturedCall, FixedSizes
from leaf_seg.inference.half_weights import set_weights
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import PRECISIONS, check_precision

logger = logging.getLogger(__name__)

COMPILE = ("off", "default", "cudagraphs")


class ReadyNetwork(nn.Module):
    """Base class of what stands for a network in inference, and sees to its number format itself.

    Args:
        network: what it stands for.
    """

    def __init__(self, network: SavedNetwork) -> None:
        super().__init__()
        self.network = network
        self.image_size = network.image_size
        self.num_classes = network.num_classes
        self.eval()

    def noise_seeds(self, number: int) -> Sequence[int]:
        """As of :class:`~leaf_seg.networks.SavedNetwork`."""
        return self.network.noise_seeds(number)

    def check_samples(self, number: int) -> None:
        """As of :class:`~leaf_seg.networks.SavedNetwork`."""
        self.network.check_samples(number)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] fp32 of images [B, 3 or 1, H, W] in [0, 1]."""
        return self.network(image).float()

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As of :class:`~leaf_seg.networks.SavedNetwork`: class probabilities [S, B, K, H, W] fp32."""
        return self.network.hypotheses(image, seeds, batch_size).float()


class FastNetwork(ReadyNetwork):
    """A network whose weights are in the number format that it computes in.

    Args:
        network: is changed: it can no longer be trained or saved.
        device: that it is moved to.
        precision: "fp32", "bf16" or "fp16" (CUDA only) of its parts' weights and activations.
        channels_last: layout of images in memory.
        compile: "off"; "default", by ``torch.compile``, which takes a minute and a C++ compiler; or "cudagraphs", which
            on another device than CUDA has nothing to capture and is "off".

    Raises:
        InputError: When the device does not have the precision, or an option is unknown.
    """

    def __init__(
        self,
        network: SavedNetwork,
        device: torch.device,
        precision: str = "fp32",
        channels_last: bool = False,
        compile: str = "off",
    ) -> None:
        check_precision(precision, device)
        if compile not in COMPILE:
            raise InputError(f"compile is {compile!r}; expected one of {', '.join(COMPILE)}.")
        super().__init__(network.to(device))
        self.precision = precision
        if precision != "fp32" or channels_last:
            set_weights(network, PRECISIONS[precision], channels_last)
        for name in network.stages:
            self._make_fixed(name, compile, device)
        if not network.stages and compile != "off":
            logger.info("%s is neither compiled nor captured: compile has no effect", type(network).__name__)

    def _make_fixed(self, name: str, compile: str, device: torch.device) -> None:
        """Let a method of the network, or of a module in it, be compiled or captured."""
        path, _, name = name.rpartition(".")
        owner = self.network.get_submodule(path)
        method: Any = getattr(owner, name)
        if compile == "default":
            setattr(owner, name, FixedSizes(torch.compile(method, dynamic=False)))
        elif compile == "cudagraphs" and device.type == "cuda":
            setattr(owner, name, FixedSizes(CapturedCall(method)))
