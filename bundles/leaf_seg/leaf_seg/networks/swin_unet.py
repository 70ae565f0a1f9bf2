"""A U-Net whose encoder is a Swin transformer: a baseline of the papers' tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import SwinUNETR

from leaf_seg.networks.limits import check_parameters
from leaf_seg.networks.logits_network import LogitsNetwork, check_image_size
from leaf_seg.runtime.errors import InputError

_FACTOR = 32  # a patch has two pixels, and four stages halve the map


class SwinUNetSegmenter(LogitsNetwork, SwinUNETR):
    """MONAI's SwinUNETR (Hatamizadeh et al., arXiv 2201.01266) in 2D, in the place of Swin-UNet.

    Differs from the papers' Swin-UNet (Cao et al., arXiv 2105.05537): the decoder is convolutional, and no weights of
    ImageNet are loaded.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, multiples of 32 and at least 64.
        feature_size: channels of the first level; a multiple of 12.
        depths: transformer blocks of the four levels.
        dropout: probability of dropout, of attention and of what it gives.

    Raises:
        InputError: When image size, channels or depths are unfit.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        feature_size: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        dropout: float = 0.0,
    ) -> None:
        options = {"feature_size": feature_size, "depths": depths, "dropout": dropout}
        self.check(num_classes=num_classes, image_size=image_size, **options)
        check_image_size("SwinUNETR", image_size, smallest=2 * _FACTOR, multiple=_FACTOR)
        if feature_size % 12:
            raise InputError(f"feature_size is {feature_size}; expected a multiple of 12.")
        if len(depths) != 4:
            raise InputError(f"depths is {list(depths)}; expected the number of blocks of each of four levels.")
        widths = [feature_size * 2**level for level in range(5)]
        check_parameters("A SwinUNETR", widths, layers=max(*depths, 1))
        with torch.device("cpu"):  # MONAI reads numbers off tensors, which the meta device has none of
            SwinUNETR.__init__(
                self,
                in_channels=3,
                out_channels=num_classes,
                depths=tuple(depths),
                feature_size=feature_size,
                drop_rate=dropout,
                attn_drop_rate=dropout,
                spatial_dims=2,
            )
        self.describe(num_classes, image_size, **options | {"depths": list(depths)})
