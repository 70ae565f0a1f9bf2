"""A residual encoder-decoder network as a baseline beside latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import SegResNet

from leaf_seg.networks.limits import check_parameters
from leaf_seg.networks.logits_network import LogitsNetwork, check_image_size
from leaf_seg.runtime.errors import InputError


class SegResNetSegmenter(LogitsNetwork, SegResNet):
    """MONAI's 2D SegResNet (Myronenko, BrainLes 2018, without its autoencoder branch) as a segmentation network.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, multiples of 2^(number of levels - 1).
        init_filters: channels of the first level, a multiple of 8 (group norm); each next level has twice as many.
        blocks_down: residual blocks of each level on the way down; one each on the way up.
        dropout: probability of dropout after the first convolution.

    Raises:
        InputError: When image size or init_filters is unfit.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        init_filters: int = 32,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        dropout: float = 0.0,
    ) -> None:
        sizes = {"image_size": image_size, "init_filters": init_filters, "blocks_down": blocks_down}
        self.check(num_classes=num_classes, dropout=dropout, **sizes)
        if init_filters % 8:
            raise InputError(f"init_filters is {init_filters}; expected a multiple of 8, for group norm.")
        factor = 2 ** (len(blocks_down) - 1)
        check_image_size("SegResNet", image_size, smallest=factor, multiple=factor)
        widths = [init_filters * 2**level for level in range(len(blocks_down))]
        check_parameters("A SegResNet", widths, layers=max(blocks_down))
        SegResNet.__init__(
            self,
            spatial_dims=2,
            in_channels=3,
            out_channels=num_classes,
            init_filters=init_filters,
            blocks_down=tuple(blocks_down),
            blocks_up=(1,) * (len(blocks_down) - 1),
            dropout_prob=dropout or None,
        )
        self.describe(
            num_classes, image_size, init_filters=init_filters, blocks_down=list(blocks_down), dropout=dropout
        )
