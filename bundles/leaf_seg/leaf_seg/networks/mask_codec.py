"""Label maps as the images an autoencoder takes, and back as class probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch

from leaf_seg.networks.limits import PART_BOUNDS
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.described import Described
from leaf_seg.runtime.errors import InputError

CHANNELS_PER_IMAGE = 3


class Codec(Described, Protocol):
    """Turns label maps of K classes into n images each, for an autoencoder, and decoded ones into probabilities.

    Attributes:
        num_classes: K.
        num_images: n.
        channels: of an image, c.
    """

    num_classes: int
    num_images: int
    channels: int

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Images [B * n, c, H, W] in [-1, 1] of labels, as of :func:`class_shares`; those of one follow each other."""

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of images [B * n, c, H, W]."""


def check_channels(codec: Codec, config: Mapping[str, Any]) -> None:
    """Refuse an autoencoder that takes or gives images of other channels than the codec's.

    Args:
        codec: makes images of label maps.
        config: the autoencoder's.

    Raises:
        InputError: Says both.
    """
    found = config["in_channels"], config["out_channels"]
    if found != (codec.channels, codec.channels):
        raise InputError(
            f"The autoencoder of label maps takes {found[0]} channels and gives {found[1]}; expected {codec.channels}, "
            f"of a {type(codec).__name__} for {codec.num_classes} classes. Give the folder of one that was trained on "
            "label maps of as many classes."
        )


def class_shares(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Share of each class in every pixel, [B, K, H, W] float.

    Args:
        label: [B, 1, H, W] integers in 0 .. K - 1; or such shares, as the mean of several raters.
        num_classes: K.
    """
    if label.shape[1] == num_classes:
        return label
    return (label == torch.arange(num_classes, device=label.device).view(1, -1, 1, 1)).float()


class ClassCodec:
    """What the codecs of K classes share.

    Args:
        num_classes: number of classes K, background included; 2 to 256.

    Raises:
        InputError: When ``num_classes`` is another number.
    """

    def __init__(self, num_classes: int) -> None:
        check_bounds({"num_classes": num_classes}, PART_BOUNDS)  # the background counts, too
        self.num_classes = num_classes

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the codec from :attr:`config`."""
        return cls(**config)


class MaskCodec(ClassCodec):
    """Turns label maps into mask images in [-1, 1] and decoded mask images into class probabilities.

    Every foreground class has one channel (-1 outside, 1 inside); three channels make a mask image, so that K classes
    need ``ceil((K - 1) / 3)`` images. With K = 2 all three channels are equal and are averaged when decoding, which
    with a threshold of 0.5 is the rule of the published LEAF and SDSeg code. Unused channels are -1.

    Args:
        num_classes: number of classes K, background included; 2 to 256.

    Raises:
        InputError: When ``num_classes`` is another number.
    """

    channels = CHANNELS_PER_IMAGE

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.num_images = math.ceil((num_classes - 1) / CHANNELS_PER_IMAGE)

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Make mask images of label maps.

        Args:
            label: [B, 1, H, W] integers in 0 .. K - 1; or the share p of each class, [B, K, H, W] float, whose channel
                is 2 p - 1. With K = 2 :meth:`decode` gives the shares back; with more the background's is that of
                classes which are marked independently of each other.

        Returns:
            [B * n, 3, H, W] in [-1, 1], n = ``num_images``; the images of one label map follow each other.
        """
        channels = class_shares(label, self.num_classes)[:, 1:] * 2 - 1  # [B, K - 1, H, W]
        if self.num_classes == 2:
            return channels.expand(-1, CHANNELS_PER_IMAGE, -1, -1)
        unused = self.num_images * CHANNELS_PER_IMAGE - channels.shape[1]
        channels = torch.nn.functional.pad(channels, (0, 0, 0, 0, 0, unused), value=-1.0)
        return channels.reshape(-1, CHANNELS_PER_IMAGE, *label.shape[2:])

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Read class probabilities from decoded mask images.

        The background's probability is that of no foreground class, and all are renormalised to sum to 1.

        Args:
            images: [B * n, 3, H, W], nominally in [-1, 1]; clamped.

        Returns:
            [B, K, H, W] in fp32 or better, background first.
        """
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        inside = (images.clamp(-1, 1) + 1) / 2
        if self.num_classes == 2:
            foreground = inside.mean(dim=1, keepdim=True)  # [B, 1, H, W]
        else:
            channels = inside.reshape(-1, self.num_images * CHANNELS_PER_IMAGE, *images.shape[2:])
            foreground = channels[:, : self.num_classes - 1]  # [B, K - 1, H, W]
        background = (1 - foreground).prod(dim=1, keepdim=True)
        probabilities = torch.cat([background, foreground], dim=1)
        return probabilities / probabilities.sum(dim=1, keepdim=True)
