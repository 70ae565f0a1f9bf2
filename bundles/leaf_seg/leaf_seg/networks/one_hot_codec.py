"""Label maps as one image with a channel for each class; back from logits."""

from __future__ import annotations

import torch

from leaf_seg.networks.mask_codec import ClassCodec, class_shares


class OneHotImages(ClassCodec):
    """Base class of codecs that turn label maps into one image of K channels.

    Args:
        num_classes: number of classes K, background included; 2 to 256.

    Raises:
        InputError: When ``num_classes`` is another number.
    """

    num_images = 1

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.channels = num_classes

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Images [B, K, H, W], 1 in the channel of the class and -1 elsewhere, of labels as of :func:`class_shares`."""
        return class_shares(label, self.num_classes) * 2 - 1


class OneHotCodec(OneHotImages):
    """What is decoded are logits of the classes: an autoencoder of K channels was trained by their cross-entropy.

    Arguments are those of :class:`OneHotImages`.
    """

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] in fp32 or better of logits [B, K, H, W]."""
        return images.to(torch.promote_types(images.dtype, torch.float32)).softmax(dim=1)
