"""Recipes of representation alignment: which projector, and what of the teacher's tokens is compared."""

from __future__ import annotations

import torch
from torch import nn

from leaf_seg.distillation.projector import ConvProjector, Projector

_EPSILON = 1e-6


class Repa:
    """An MLP, and the tokens as they are: REPA (arXiv 2410.06940) and LEAF."""

    def projector(self, in_channels: int, embed_dim: int, hidden_dim: int) -> nn.Module:
        """From a feature map [B, C, h, w] to tokens [B, h * w, D], with random weights.

        Args:
            in_channels: C.
            embed_dim: D.
            hidden_dim: width of the MLP.
        """
        return Projector(in_channels, embed_dim, hidden_dim)

    def tokens(self, teacher_tokens: torch.Tensor) -> torch.Tensor:
        """What is compared, [B, L, D], of the teacher's tokens [B, L, D] on its own grid."""
        return teacher_tokens


class Irepa(Repa):
    """One convolution, and tokens without what all of an image have in common: iREPA (arXiv 2512.10794).

    Spatial structure rather than what the image shows as a whole is handed over.
    """

    def projector(self, in_channels: int, embed_dim: int, hidden_dim: int) -> nn.Module:
        """A :class:`~leaf_seg.distillation.projector.ConvProjector`; it has no hidden layer."""
        return ConvProjector(in_channels, embed_dim)

    def tokens(self, teacher_tokens: torch.Tensor) -> torch.Tensor:
        """Spatially normalised tokens, of :func:`spatially_normalized`."""
        return spatially_normalized(teacher_tokens)


def spatially_normalized(tokens: torch.Tensor, gamma: float = 1.0) -> torch.Tensor:
    """(x - gamma * mean) / (std + 1e-6), with mean and std of each channel over the tokens of an image.

    The published code computes it so. A gamma of 1 is the default of its function; that of its script for latent
    diffusion is 0.6, and its configs were not seen.

    Args:
        tokens: x, [B, L, D], L of at least 2.
        gamma: share of the mean that is taken away.
    """
    mean, std = tokens.mean(dim=1, keepdim=True), tokens.std(dim=1, keepdim=True)  # [B, 1, D]
    return (tokens - gamma * mean) / (std + _EPSILON)


RECIPES: dict[str, Repa] = {"repa": Repa(), "irepa": Irepa()}
