"""A plain U-Net: the baseline beside latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import BasicUNet

from leaf_seg.errors import InputError

# Four poolings halve the image, and instance norm needs more than one value at the bottom.
MIN_SIDE = 32


class BasicUNetSegmenter(BasicUNet):
    """MONAI's 2D BasicUNet (Falk et al., Nature Methods 2019) as a segmentation network.

    ``forward(image)`` segments. ``forward(image, return_logits=True)`` returns what the training loss takes; training
    calls nothing else, so that DDP, autocast and hooks work.

    The norm is MONAI's default, instance norm without running statistics: those of a batch norm would not belong to the
    weights that are evaluated and saved, since only parameters are averaged over the training.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, at least 32 each.
        features: channels of the five levels, top to bottom, and after the last up-sampling.
        dropout: probability of dropout after each convolution.

    Raises:
        InputError: When image size or features are unfit.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        dropout: float = 0.0,
    ) -> None:
        if min(image_size) < MIN_SIDE:
            raise InputError(
                f"image_size {tuple(image_size)} does not fit: the U-Net halves it four times; choose sides of at "
                f"least {MIN_SIDE}."
            )
        if len(features) != 6:
            raise InputError(
                f"features is {list(features)}; expected six numbers: the channels of the five levels and those after "
                "the last up-sampling."
            )
        super().__init__(spatial_dims=2, in_channels=3, out_channels=num_classes, features=features, dropout=dropout)
        self.num_classes = num_classes
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self._features = list(features)
        self._dropout = dropout

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""
        return {
            "num_classes": self.num_classes,
            "image_size": list(self.image_size),
            "features": self._features,
            "dropout": self._dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BasicUNetSegmenter:
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
