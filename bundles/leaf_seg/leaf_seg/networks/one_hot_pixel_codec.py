"""Label maps as one image with a channel for each class, and back from such an image."""

from __future__ import annotations

import torch

from leaf_seg.networks.mask_codec import ClassCodec, class_shares

_LEAST = 1e-6  # share of a class; where no class is marked, all are alike


class OneHotPixelCodec(ClassCodec):
    """Turns label maps into one image of K channels in [-1, 1], and such images into class probabilities.

    For a network that predicts these images themselves, and no logits.

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

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] in fp32 or better.

        They are the shares (x + 1) / 2, over their sum.

        Args:
            images: [B, K, H, W], nominally in [-1, 1]; clamped.
        """
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        shares = ((images + 1) / 2).clamp(_LEAST, 1)
        return shares / shares.sum(dim=1, keepdim=True)
