"""What a model folder may hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from leaf_seg.networks.traced import TracedNetwork
from leaf_seg.runtime.errors import InputError


class SavedNetwork(nn.Module, ABC):
    """Base class of the networks that are trained, saved, loaded and used to segment.

    ``forward(image)`` goes from images [B, 3 or 1, H, W] in [0, 1] to class probabilities [B, K, H, W]. A diffusion
    model also overrides :meth:`noise_seeds` and :meth:`hypotheses`.

    Attributes:
        num_classes: K, background included.
        image_size: (H, W) that the network works at.
        stages: names of the methods that inference consists of, from tensors [B, ...] to a tensor [B, ...]; each is
            compiled, or captured as a CUDA graph. Those of a module in it have its name before theirs.
        draws_noise: whether an answer depends on a noise seed.
    """

    num_classes: int
    image_size: tuple[int, int]
    stages: tuple[str, ...] = ("forward",)
    draws_noise: bool = False

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Modules that may compute in half precision, each as a whole; what stands between them stays in fp32."""
        return (self,)

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, with random weights, from :attr:`config`."""

    def __prepare_scriptable__(self) -> TracedNetwork:
        """What ``torch.jit.script(network)``, and so MONAI's ``ckpt_export``, compiles; PyTorch calls this."""
        return TracedNetwork(self, self.image_size)

    def check_samples(self, number: int) -> None:
        """What there is to say before so many hypotheses of each image are drawn; nothing for one.

        Raises:
            InputError: When so many make no sense.
        """
        if number > 1:
            self.noise_seeds(number)

    def noise_seeds(self, number: int) -> Sequence[int]:
        """Seeds of so many hypotheses, that of the network's own answer first.

        Raises:
            InputError: When the network draws no noise.
        """
        raise _no_hypotheses(self, number)

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """Draw one hypothesis of each image for each noise seed; an image is encoded once.

        Args:
            image: [B, 3, H, W], or [B, 1, H, W] for grey, in [0, 1].
            seeds: S noise seeds.
            batch_size: hypotheses of single images that are drawn at a time; bounds the memory.

        Returns:
            Class probabilities [S, B, K, H, W].

        Raises:
            InputError: When the network draws no noise.
        """
        raise _no_hypotheses(self, len(seeds))


def _no_hypotheses(network: SavedNetwork, number: int) -> InputError:
    return InputError(
        f"This {type(network).__name__} draws no noise: it has one answer to an image, and no {number} hypotheses or "
        "noise seeds to draw. Set num_samples and num_noise_seeds to 1, and leave out uncertainty; or draw hypotheses "
        "by dropout (mc_dropout), or of several trainings (ensemble)."
    )
