"""Random changes of batches of training slices: mirror images, affine maps, gamma, intensity, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.batch_augmentation import BatchTransform, SliceBatch, draw
from leaf_seg.transforms.mirror import check_flip_probability, mirrored_dims


class BatchMirror(BatchTransform):
    """As :class:`~leaf_seg.transforms.RandMirror`, which says what two and three probabilities mean.

    Args:
        probability: of the slice's two axes; or left-right, front-back and up-down.
        num_slices: 1, or 3 where the channels of an image are neighbouring slices.

    Raises:
        InputError: When there are not two or three probabilities; when called with three on a picture.
    """

    def __init__(self, probability: Sequence[float], num_slices: int = 1) -> None:
        super().__init__(1.0)
        self.axis_probability = check_flip_probability(probability)
        self.has_neighbours = num_slices > 1

    @property
    def is_finite(self) -> bool:
        """It makes four versions of a slice at most; eight where the order of its neighbours turns round."""
        return True

    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Mirror each item along the axes that it draws."""
        for item, generator in zip(items, generators, strict=True):
            mirrored = [axis for axis, p in enumerate(self.axis_probability) if draw(generator) < p]
            across = batch.slice_axes[item] if batch.slice_axes[item] >= 0 else None
            dims, turns_order = mirrored_dims(mirrored, len(self.axis_probability), across)
            if dims:
                batch.label[item] = batch.label[item].flip(dims)
            if turns_order and self.has_neighbours:
                dims = [*dims, 0]
            if dims:
                batch.image[item] = batch.image[item].flip(dims)


class BatchAffine(BatchTransform):
    """Turns, scales and shifts slices about their middle; image bilinear, label nearest, borders continued.

    As MONAI's ``RandAffined``: output pixel c, from the middle, shows x = R (S c + t) of the input.

    Args:
        probability: that an item is changed.
        rotation: largest angle, in radians.
        scaling: each axis is scaled by 1 - scaling to 1 + scaling.
        translation: largest shift along each axis, in pixels.
    """

    def __init__(
        self, probability: float, rotation: float = 0.0, scaling: float = 0.0, translation: float = 0.0
    ) -> None:
        super().__init__(probability)
        self.rotation, self.scaling, self.translation = rotation, scaling, translation

    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Resample the items, all in one call."""
        size = (batch.image.shape[2], batch.image.shape[3])
        theta = torch.tensor([self._map(generator, size) for generator in generators], device=batch.image.device)
        grid = F.affine_grid(theta, [len(items), 1, *size], align_corners=False)  # [b, H, W, 2], (x, y) in [-1, 1]
        image = F.grid_sample(batch.image[items], grid, "bilinear", "border", align_corners=False)
        label = F.grid_sample(batch.label[items].float(), grid, "nearest", "border", align_corners=False)
        batch.image[items] = image
        batch.label[items] = label.to(batch.label.dtype)

    def _map(self, generator: torch.Generator, size: tuple[int, int]) -> list[list[float]]:
        """The map of (x, y, 1), in halves of the slice's sides, from output to input, [2, 3]."""
        angle = draw(generator, -self.rotation, self.rotation)
        shift = [draw(generator, -self.translation, self.translation) for _ in range(2)]  # rows, columns
        scale = [1 + draw(generator, -self.scaling, self.scaling) for _ in range(2)]
        return affine_map(angle, scale, shift, size)


def affine_map(
    angle: float, scale: Sequence[float], shift: Sequence[float], size: tuple[int, int]
) -> list[list[float]]:
    """What ``torch.nn.functional.affine_grid`` takes for x = R (S c + t) in pixels from the middle, (row, column).

    Args:
        angle: of R, in radians.
        scale: diagonal of S.
        shift: t, in pixels.
        size: (H, W).
    """
    height, width = size
    cos, sin = math.cos(angle), math.sin(angle)
    row = (cos * scale[0], -sin * scale[1], cos * shift[0] - sin * shift[1])
    column = (sin * scale[0], cos * scale[1], sin * shift[0] + cos * shift[1])
    return [
        [column[1], column[0] * height / width, 2 * column[2] / width],
        [row[1] * width / height, row[0], 2 * row[2] / height],
    ]


class BatchGamma(BatchTransform):
    """Raises images, scaled to [0, 1] by their own range, to a power; as MONAI's ``RandAdjustContrastd``.

    Args:
        probability: that an item is changed.
        gamma: least and greatest power, above 0.

    Raises:
        InputError: When a power is not above 0.
    """

    def __init__(self, probability: float, gamma: Sequence[float]) -> None:
        super().__init__(probability)
        if len(gamma) != 2 or min(gamma) <= 0:
            raise InputError(f"BatchGamma: gamma is {gamma}; expected two numbers above 0.")
        self.gamma = (min(gamma), max(gamma))

    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Change the images."""
        image = batch.image[items]
        low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)  # [b, 1, 1, 1]
        gamma = _column([draw(generator, *self.gamma) for generator in generators], image)
        batch.image[items] = ((image - low) / (high - low + 1e-7)) ** gamma * (high - low) + low


class BatchIntensity(BatchTransform):
    """Multiplies images by a factor; as MONAI's ``RandScaleIntensityd``.

    Args:
        probability: that an item is changed.
        factor: the image is multiplied by 1 - factor to 1 + factor.
    """

    def __init__(self, probability: float, factor: float) -> None:
        super().__init__(probability)
        self.factor = factor

    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Change the images."""
        factors = [1 + draw(generator, -self.factor, self.factor) for generator in generators]
        batch.image[items] = batch.image[items] * _column(factors, batch.image)


class BatchNoise(BatchTransform):
    """Adds Gaussian noise to images; as MONAI's ``RandGaussianNoised``.

    Args:
        probability: that an item is changed.
        std: greatest standard deviation; an item's own is drawn from 0 to this.
    """

    def __init__(self, probability: float, std: float) -> None:
        super().__init__(probability)
        self.std = std

    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Change the images."""
        for item, generator in zip(items, generators, strict=True):
            std = draw(generator, 0, self.std)
            batch.image[item] += std * torch.randn(batch.image.shape[1:], generator=generator).to(batch.image.device)


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """A number for each item, [b, 1, 1, 1]."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)
