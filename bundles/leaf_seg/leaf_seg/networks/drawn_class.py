"""One class of each label map, drawn anew whenever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from leaf_seg.networks.class_masks import class_masks
from leaf_seg.networks.mask_codec import MaskCodec, class_shares
from leaf_seg.runtime.distributed import num_processes, own_share


@dataclass(frozen=True)
class DrawnClass:
    """Draws one of the classes that are in a label map, each as likely as the others, and makes its mask (SDSeg).

    The background is one of them, as in the published code, and the only one of an empty slice.

    Attributes:
        num_classes: K, background included.
    """

    num_classes: int

    def __call__(self, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw, by PyTorch's generator.

        Args:
            label: [B, 1, H, W] integers in 0 .. K - 1, or the share of each class [B, K, H, W].

        Returns:
            The classes, [B] int64, and the shares of outside and inside of their masks
            (:func:`~leaf_seg.networks.class_masks.class_masks`), [B, 2, H, W] float.
        """
        shares = class_shares(label, self.num_classes)  # [B, K, H, W]
        is_there = shares.flatten(2).amax(dim=2) > 0  # [B, K]
        # Every process draws for all, as one process would, and takes its share.
        lots = own_share(torch.rand(len(label) * num_processes(), self.num_classes, device=label.device))
        classes = lots.masked_fill(~is_there, -1).argmax(dim=1)
        masks = class_masks(shares, self.num_classes)
        inside = masks[torch.arange(len(label), device=label.device), classes][:, None]  # [B, 1, H, W]
        return classes, torch.cat([1 - inside, inside], dim=1)

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Mask images [B, 3, H, W] in [-1, 1] of classes that are drawn, as training encodes them."""
        return MaskCodec(2).encode(self(label)[1])
