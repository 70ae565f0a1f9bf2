"""A plain U-Net: the baseline beside latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import BasicUNet

from leaf_seg.networks.limits import check_parameters
from leaf_seg.networks.logits_network import LogitsNetwork, check_image_size
from leaf_seg.runtime.errors import InputError


class BasicUNetSegmenter(LogitsNetwork, BasicUNet):
    """MONAI's 2D BasicUNet (Falk et al., Nature Methods 2019) as a segmentation network, with instance norm.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, at least 32 each: four poolings halve the image, and instance
            norm needs more than one value at the bottom.
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
        self.check(num_classes=num_classes, image_size=image_size, features=features, dropout=dropout)
        check_image_size("BasicUNet", image_size, smallest=32)
        check_features("A BasicUNet", features)
        BasicUNet.__init__(
            self, spatial_dims=2, in_channels=3, out_channels=num_classes, features=features, dropout=dropout
        )
        self.describe(num_classes, image_size, features=list(features), dropout=dropout)


def check_features(what: str, features: Sequence[int]) -> None:
    """Look at the channels of a BasicUNet before it is built.

    Args:
        what: network, for the message.
        features: of the five levels, and after the last up-sampling.

    Raises:
        InputError: When they are not six, or the network would be too large.
    """
    if len(features) != 6:
        raise InputError(
            f"features is {list(features)}; expected six numbers: the channels of the five levels and those after "
            "the last up-sampling."
        )
    check_parameters(what, features, layers=1)
