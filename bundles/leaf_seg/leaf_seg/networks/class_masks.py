"""Label maps as one binary mask image for each class, and back by a softmax over the classes."""

from __future__ import annotations

import torch

from leaf_seg.networks.mask_codec import CHANNELS_PER_IMAGE, ClassCodec, class_shares


def class_masks(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The mask of each class, [B, K, H, W] float in [0, 1]; that of the background is all foreground.

    Args:
        label: as for :func:`~leaf_seg.networks.mask_codec.class_shares`.
        num_classes: K.
    """
    shares = class_shares(label, num_classes)
    return torch.cat([1 - shares[:, :1], shares[:, 1:]], dim=1)


class ClassMasksCodec(ClassCodec):
    """Turns label maps into a binary mask image for each class, the background included (SDSeg on several classes).

    The background's mask is that of all foreground, as in the published code, whose first class is 0: an empty slice
    has an empty mask. Decoded, it counts with the opposite sign.

    Args:
        num_classes: number of classes K, background included; 2 to 256.

    Raises:
        InputError: When ``num_classes`` is another number.
    """

    channels = CHANNELS_PER_IMAGE

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.num_images = num_classes

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Images [B * K, 3, H, W] in [-1, 1], 1 inside, of labels as of :func:`class_masks`; those of one in order."""
        masks = class_masks(label, self.num_classes).flatten(0, 1)[:, None]  # [B * K, 1, H, W]
        return (masks * 2 - 1).expand(-1, CHANNELS_PER_IMAGE, -1, -1)

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] in fp32 or better: the softmax of the images' means over their channels.

        The images [B * K, 3, H, W] are not clamped, as in the published code. Since they are about -1 and 1, a
        probability is at most about 1 / (1 + (K - 1) exp(-2)): 0.79 of three classes.
        """
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        inside = images.mean(dim=1).reshape(-1, self.num_classes, *images.shape[2:])  # [B, K, H, W]
        return torch.cat([-inside[:, :1], inside[:, 1:]], dim=1).softmax(dim=1)
