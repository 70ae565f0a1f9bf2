"""Label maps as one image with a channel for each class; back from such an image."""

from __future__ import annotations

import torch

from leaf_seg.networks.one_hot_codec import OneHotImages

_LEAST = 1e-6  # share of a class; where no class is marked, all are alike


class OneHotPixelCodec(OneHotImages):
    """What is decoded are such images themselves, in [-1, 1], and no logits: a network predicts them.

    Arguments are those of :class:`OneHotImages`.
    """

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] in fp32 or better.

        They are the shares (x + 1) / 2, over their sum.

        Args:
            images: [B, K, H, W], nominally in [-1, 1]; clamped.
        """
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        shares = ((images + 1) / 2).clamp(_LEAST, 1)
        return shares / shares.sum(dim=1, keepdim=True)
