"""What makes one of MONAI's networks a baseline beside latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch

from leaf_seg.networks.limits import BASELINE_BOUNDS
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.errors import InputError


class LogitsNetwork(SavedNetwork):
    """Base class, before a network from images [B, 3, H, W] to logits [B, K, H, W], of a segmentation network.

    ``forward(image)`` segments. ``forward(image, return_logits=True)`` returns what the training loss takes; training
    calls nothing else, so that DDP, autocast and hooks work.

    A subclass calls :meth:`check` at the beginning of its ``__init__`` and :meth:`describe` at the end. Its network has
    a norm without running statistics: those would not belong to the weights that are evaluated and saved, since only
    parameters are averaged over the training.
    """

    _config: dict[str, Any]

    def check(self, **arguments: Any) -> None:
        """Look at arguments of ``__init__`` before anything is built.

        Raises:
            InputError: Names one that makes no sense.
        """
        check_bounds(arguments, BASELINE_BOUNDS, f"{type(self).__name__}: ")

    def describe(self, num_classes: int, image_size: Sequence[int], **options: Any) -> None:
        """Keep the arguments of ``__init__`` as :attr:`config`."""
        self.num_classes = num_classes
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self._config = {"num_classes": num_classes, "image_size": list(self.image_size), **options}

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""
        return dict(self._config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, with random weights, from :attr:`config`."""
        return cls(**config)

    def forward(self, image: torch.Tensor, return_logits: bool = False) -> torch.Tensor:
        """Segment, or return the logits.

        Args:
            image: [B, 3, H, W], or [B, 1, H, W] for grey, in [0, 1].
            return_logits: leave out the softmax.

        Returns:
            Class probabilities, or logits, [B, K, H, W] fp32.
        """
        logits = super().forward(image.expand(-1, 3, -1, -1)).float()
        return logits if return_logits else logits.softmax(dim=1)


def check_image_size(name: str, image_size: Sequence[int], smallest: int, multiple: int = 1) -> None:
    """Compare the sides of an image with what a network takes.

    Raises:
        InputError: When a side is too short, or no multiple.
    """
    if min(image_size) < smallest or any(side % multiple for side in image_size):
        of_multiple = f", multiples of {multiple}" if multiple > 1 else ""
        raise InputError(
            f"image_size {tuple(image_size)} does not fit a {name}; choose sides of at least {smallest}{of_multiple}."
        )
