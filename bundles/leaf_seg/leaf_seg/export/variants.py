"""What of a model is exported: the network alone, or the whole way from intensities to labels."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from leaf_seg.data.slicing import resize_image
from leaf_seg.networks import SavedNetwork

Tensors = tuple[torch.Tensor, ...]

_CANDIDATES = 8  # images, of which those that tell most are compared
_TRACED_BATCH = 2  # a batch of one could be taken for a constant


class Variant(nn.Module):
    """Base class: a module of tensors alone, with names for them.

    Args:
        network: model to export; its weights are shared.

    Attributes:
        name: in the file's description, and in the name of the file.
        inputs: names of the inputs, the image first.
        outputs: names of the outputs, the class probabilities last.
        free_dimensions: of the image, those that may have any size.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    free_dimensions: ClassVar[dict[int, str]]

    def __init__(self, network: SavedNetwork) -> None:
        super().__init__()
        self.network = network
        self.image_size = network.image_size

    def traced_with(self) -> Tensors:
        """Inputs that the module is traced with."""
        raise NotImplementedError

    def checked_with(self) -> list[Tensors]:
        """Inputs of other sizes, with which the file is compared with the module."""
        raise NotImplementedError

    def telling_images(self, number: int) -> torch.Tensor:
        """Random images [number, 3, H, W] in [0, 1], those of which the network is least sure.

        Of an image that is surely all background a file says the same as the model, whatever else it says.
        """
        images = torch.cat([_pattern(1, self.image_size, seed) for seed in range(_CANDIDATES)])
        with torch.no_grad():
            unsure = torch.cat([self.network(image) for image in images.split(1)])  # [N, K, H, W]
        order = (unsure * (1 - unsure)).mean(dim=(1, 2, 3)).argsort(descending=True)
        return images[order[:number]]


class NetworkAlone(Variant):
    """Images [B, 3, H, W] in [0, 1] at the network's size, to class probabilities [B, K, H, W]."""

    name = "network"
    inputs = ("image",)
    outputs = ("probabilities",)
    free_dimensions: ClassVar[dict[int, str]] = {0: "batch"}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W]."""
        probabilities: torch.Tensor = self.network(image)
        return probabilities

    def traced_with(self) -> Tensors:
        """Two images."""
        return (_pattern(_TRACED_BATCH, self.image_size),)

    def checked_with(self) -> list[Tensors]:
        """One image, and three."""
        images = self.telling_images(4)
        return [(images[:1],), (images[1:],)]


class WholeModel(Variant):
    """Intensities of pictures or slices of any size, and their limits, to labels and class probabilities.

    As leaf_seg does: scaled as by :class:`~leaf_seg.transforms.ScaleImage`, resized, segmented, resized back, and the
    most probable class.
    """

    name = "whole"
    inputs = ("image", "lower", "upper")
    outputs = ("labels", "probabilities")
    free_dimensions: ClassVar[dict[int, str]] = {0: "batch", 2: "height", 3: "width"}

    def forward(self, image: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> Tensors:
        """Segment.

        Args:
            image: [B, 3, h, w] in the units of its file: RGB, a grey image three times, or neighbouring slices.
            lower: [], the intensity that becomes 0; what is below, too.
            upper: [], the intensity that becomes 1, above ``lower``.

        Returns:
            Labels uint8 [B, h, w], of equally probable classes the first, and class probabilities [B, K, h, w].
        """
        scaled = ((image - lower) / (upper - lower)).clamp(0, 1)  # [B, 3, h, w]
        probabilities = self.network(resize_image(scaled, self.image_size)).float()  # [B, K, H, W]
        native = resize_image(probabilities, image.shape[2:])  # [B, K, h, w]
        return native.argmax(dim=1).to(torch.uint8), native

    def traced_with(self) -> Tensors:
        """Two pictures greater than the network's size: all sizes differ, so that none is taken for another."""
        height, width = self.image_size
        return _scene(_pattern(_TRACED_BATCH, (height + 16, max(height, width) + 40)))

    def checked_with(self) -> list[Tensors]:
        """Pictures of the network's size, of a greater one, and of one that is smaller in one direction."""
        height, width = self.image_size
        sizes = [(height, width), (height * 2 + 1, width + 9), (math.ceil(height * 0.6), math.ceil(width * 1.3))]
        images = self.telling_images(6).split([1, 3, 2])
        return [_scene(resize_image(image, size)) for image, size in zip(images, sizes, strict=True)]


VARIANTS: dict[str, type[Variant]] = {variant.name: variant for variant in (NetworkAlone, WholeModel)}


def _pattern(number: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Random images [B, 3, H, W] in [0, 1]; with greater seeds, up to 7, finer patterns."""
    generator = torch.Generator().manual_seed(seed)
    cells = [min(side, 3 + 3 * seed) for side in size]
    coarse = torch.rand((number, 3, *cells), generator=generator)
    return F.interpolate(coarse, size=size, mode="bilinear")


def _scene(image: torch.Tensor) -> Tensors:
    """Intensities of an image in [0, 1], of which the greatest and the smallest are outside of the limits."""
    return image * 260, torch.tensor(10.0), torch.tensor(250.0)
