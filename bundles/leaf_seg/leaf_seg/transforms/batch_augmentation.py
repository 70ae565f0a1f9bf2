"""Augmentation of whole batches of training slices: the field's usual transforms at a fraction of their time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from leaf_seg.runtime.errors import InputError


@dataclass
class SliceBatch:
    """Slices that are augmented together; transforms change the tensors in place or replace them.

    Attributes:
        image: [B, C, H, W] float32.
        label: [B, 1, H, W] integers.
        slice_axes: across which axis of its volume (RAS, 0 to 2) each slice lies; -1 for a picture.
    """

    image: torch.Tensor
    label: torch.Tensor
    slice_axes: Sequence[int]


class BatchTransform(ABC):
    """Base class of one random change of some items of a batch.

    What happens to an item depends on its own generator alone, not on the others of the batch.

    Args:
        probability: that an item is changed.

    Raises:
        InputError: When that is no probability.
    """

    def __init__(self, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"{type(self).__name__}: the probability is {probability}; expected 0 to 1.")
        self.probability = probability

    def __call__(self, batch: SliceBatch, generators: Sequence[torch.Generator]) -> None:
        """Change the items of ``batch`` that ``generators``, one for each, choose."""
        chosen = [item for item, generator in enumerate(generators) if draw(generator) < self.probability]
        if chosen:
            self.apply(batch, chosen, [generators[item] for item in chosen])

    @property
    def is_finite(self) -> bool:
        """Whether it makes a few versions of a slice only, so that each comes again; not so unless a class says it."""
        return self.probability == 0

    @abstractmethod
    def apply(self, batch: SliceBatch, items: list[int], generators: Sequence[torch.Generator]) -> None:
        """Change these items of ``batch``; ``generators`` has one for each of them."""


class BatchAugmentation:
    """Some transforms, one after the other, of a batch of slices.

    MONAI's transforms take an item at a time, where most of the time goes into their records of what was done; these
    draw from the same distributions. :class:`~leaf_seg.data.SliceDataset` calls it where a batch is read.

    Args:
        transforms: each a :class:`BatchTransform`.

    Raises:
        InputError: When one is another object, such as a transform of MONAI.
    """

    def __init__(self, transforms: Sequence[BatchTransform]) -> None:
        for transform in transforms:
            if not isinstance(transform, BatchTransform):
                raise InputError(
                    f"train#augmentation has the transform {type(transform).__name__}; expected those of "
                    "leaf_seg.transforms.batch_transforms. MONAI's transforms of single items go into a Compose: set "
                    'the whole of train#augmentation to {"_target_": "Compose", "transforms": [...]}.'
                )
        self.transforms = tuple(transforms)

    def augment_batch(
        self, image: torch.Tensor, label: torch.Tensor, seeds: Sequence[int], slice_axes: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch.

        Args:
            image: [B, C, H, W] float32; may be changed.
            label: [B, 1, H, W] integers; may be changed.
            seeds: of each item, on which what happens to it depends alone.
            slice_axes: across which axis of its volume (RAS, 0 to 2) each slice lies; -1 for a picture.

        Returns:
            Image and label of the same sizes and types.
        """
        batch = SliceBatch(image, label, slice_axes)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for transform in self.transforms:
            transform(batch, generators)
        return batch.image, batch.label


def draw(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A number from the uniform distribution."""
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
