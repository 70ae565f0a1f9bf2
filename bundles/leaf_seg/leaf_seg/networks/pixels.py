"""Images as their own latents: diffusion in pixel space."""

from __future__ import annotations

import torch
from torch import nn

from leaf_seg.networks.latents import LatentPart
from leaf_seg.networks.limits import PART_BOUNDS
from leaf_seg.networks.mask_codec import Codec
from leaf_seg.runtime.bounds import check_bounds


class Pixels(LatentPart):
    """In the place of an autoencoder's half: an image in [-1, 1] is its own latent, and a latent its own image.

    Args:
        channels: of the image.

    Raises:
        InputError: When ``channels`` is no such number.
    """

    factor = 1

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        check_bounds({"channels": channels}, PART_BOUNDS, f"{type(self).__name__}: ")
        self.channels = channels
        self.config = {"channels": channels}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image [B, C, H, W], as it is."""
        return image


class PixelMaskEncoder(nn.Module):
    """In the place of a MaskEncoder: the mask image of a label map is its latent.

    Args:
        codec: makes one image of each label map.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Clean mask "latent" [B, K, H, W] fp32 in [-1, 1] of labels, as of :meth:`Codec.encode`."""
        return self.codec.encode(label).float()
