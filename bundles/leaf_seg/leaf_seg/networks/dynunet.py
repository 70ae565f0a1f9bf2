"""nnU-Net's network as a baseline beside latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.nets import DynUNet

from leaf_seg.networks.limits import check_parameters
from leaf_seg.networks.logits_network import LogitsNetwork, check_image_size
from leaf_seg.runtime.errors import InputError


class DynUNetSegmenter(LogitsNetwork, DynUNet):
    """MONAI's 2D DynUNet (the network of nnU-Net, Isensee et al., Nature Methods 2021) as a segmentation network.

    Kernels of 3 x 3, instance norm, leaky ReLU, transposed convolutions, without deep supervision.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, multiples of 2^(levels - 1) and at least twice that.
        filters: channels of the levels, top to bottom; at least three.
        dropout: probability of dropout after each convolution.

    Raises:
        InputError: When image size or filters are unfit.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        filters: Sequence[int] = (32, 64, 128, 256, 320),
        dropout: float = 0.0,
    ) -> None:
        self.check(num_classes=num_classes, image_size=image_size, filters=filters, dropout=dropout)
        if len(filters) < 3:
            raise InputError(f"filters is {list(filters)}; expected the channels of at least three levels.")
        levels = len(filters)
        factor = 2 ** (levels - 1)
        check_image_size("DynUNet", image_size, smallest=2 * factor, multiple=factor)
        check_parameters("A DynUNet", filters, layers=1)
        DynUNet.__init__(
            self,
            spatial_dims=2,
            in_channels=3,
            out_channels=num_classes,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=filters,
            dropout=dropout,
        )
        self.describe(num_classes, image_size, filters=list(filters), dropout=dropout)

    def get_output_block(self, idx: int) -> UnetOutBlock:
        """The last convolution; without MONAI's dropout, which would strike out logits."""
        return UnetOutBlock(self.spatial_dims, self.filters[idx], self.out_channels)
