"""Dropout that costs a quarter of PyTorch's on a CPU."""

from __future__ import annotations

import torch
from torch import nn

_VALUES = 2**16  # of the numbers that decide


class PackedDropout(nn.Dropout):
    """nn.Dropout whose mask takes one random number of 64 bits for four elements, on a CPU.

    PyTorch draws one for each element there, which takes longer than a convolution of a small kernel. An element is
    dropped with probability ``p`` to within 1 / 2^17, and what stays is divided by the probability of staying. On other
    devices it is nn.Dropout itself.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The input, any shape, with elements dropped in training mode."""
        kept = round((1 - self.p) * _VALUES)
        if not self.training or input.device.type != "cpu" or kept in (0, _VALUES):
            return super().forward(input)
        mask = torch.empty_like(input)  # dense, in the input's layout
        numbers = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        numbers = numbers.view(torch.int16)[: input.numel()]
        torch.lt(numbers, kept - _VALUES // 2, out=mask.as_strided((input.numel(),), (1,)))
        return input * mask.mul_(_VALUES / kept)


def pack_dropout(module: nn.Module) -> None:
    """Let the dropout in a module, where it drops anything, be :class:`PackedDropout`; in place."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout and child.p > 0:
                setattr(parent, name, PackedDropout(child.p).train(child.training))
