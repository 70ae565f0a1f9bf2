"""A network as its trace, for ``torch.jit.script``."""

from __future__ import annotations

import torch
from torch import nn

_BATCH_SIZE = 2  # of the example; a batch of one image could be taken for a constant


class TracedNetwork(nn.Module):
    """What ``torch.jit.script`` compiles for a network; diffusers' embedding of timesteps it could not.

    It answers to images [B, 3, H, W] of the network's size, of any number, as the network does in its present mode.

    Args:
        network: to trace; the weights are shared.
        image_size: (H, W) that it works at.
    """

    def __init__(self, network: nn.Module, image_size: tuple[int, int]) -> None:
        super().__init__()
        device = next(network.parameters()).device
        example = torch.zeros((_BATCH_SIZE, 3, *image_size), device=device)
        with torch.no_grad():
            self.network = torch.jit.trace(network, example, check_trace=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of images [B, 3, H, W] in [0, 1]."""
        return self.network(image)
