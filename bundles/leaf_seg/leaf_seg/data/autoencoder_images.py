"""What the autoencoder learns from: images and mask images."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from leaf_seg.data.phantoms import phantom


class ImageCodec(Protocol):
    """Makes images of label maps; a codec of :mod:`leaf_seg.networks`."""

    num_images: int

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        """Images [B * n, c, H, W] in [-1, 1] of label maps [B, 1, H, W]."""


class PhantomSlices(Dataset):
    """Phantom slices made when asked for; item i is always the same.

    Args:
        length: number of slices.
        image_size: (H, W).
        num_classes: 2 to 4, background included.
        channels: 1 (grey) or 3 (RGB).
        seed: of the whole set.
    """

    def __init__(
        self, length: int, image_size: tuple[int, int], num_classes: int = 4, channels: int = 3, seed: int = 0
    ) -> None:
        self.length = length
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.num_classes = num_classes
        self.channels = channels
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Slice ``item``: "image" [3, H, W] float32 in [0, 1] and "label" [1, H, W] uint8."""
        if not 0 <= item < self.length:
            raise IndexError(item)
        rng = np.random.default_rng((self.seed, self.num_classes, self.channels, item))
        image, label = phantom(self.image_size, self.num_classes, rng, self.channels)
        return {
            "image": torch.from_numpy(image).expand(3, -1, -1).contiguous(),
            "label": torch.from_numpy(label)[None],
        }


class AutoencoderImages(Dataset):
    """Every slice of a data set 1 + n times: its image, and its label map as n mask images.

    Args:
        slices: items with "image" [3, H, W] in [0, 1] and "label" [1, H, W].
        codec: makes n images [n, c, H, W] of a label map [1, 1, H, W].
        masks_only: leave the image out.
    """

    def __init__(self, slices: Dataset, codec: ImageCodec, masks_only: bool = False) -> None:
        self.slices = slices
        self.codec = codec
        self.first = 1 if masks_only else 0

    def __len__(self) -> int:
        return (1 - self.first + self.codec.num_images) * len(self.slices)  # type: ignore[arg-type]

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Key "image", [c, H, W] in [-1, 1]; the items of a slice follow each other."""
        index, which = divmod(item, 1 - self.first + self.codec.num_images)
        sample = self.slices[index]
        which += self.first
        if which:
            label = convert_to_tensor(sample["label"], track_meta=False)[None]
            return {"image": self.codec.encode(label)[which - 1].contiguous()}
        return {"image": convert_to_tensor(sample["image"], track_meta=False) * 2 - 1}
