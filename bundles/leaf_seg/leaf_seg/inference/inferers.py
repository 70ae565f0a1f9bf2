"""From an image of any size to class probabilities at that size; autocast for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.utils import convert_to_tensor

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.data.slicing import (
    check_mirror_axes,
    from_slices,
    resize_image,
    resize_label,
    slice_channels,
    slice_directions,
    to_slices,
)
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.distributed import bare
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import autocast
from leaf_seg.runtime.values import parse_bool


class AutocastInferer(SimpleInferer):
    """MONAI's SimpleInferer under autocast of the input's device; used by the trainer.

    Args:
        precision: "fp32", "bf16" or "fp16".
    """

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``network(inputs, *args, **kwargs)`` in the precision set."""
        with autocast(inputs.device, self.precision):
            return super().__call__(inputs, network, *args, **kwargs)


@dataclass(frozen=True)
class HypothesisMaps:
    """What several hypotheses of one batch of images say, all at native size.

    Attributes:
        probabilities: mean class probabilities [B, K, *spatial].
        variance: variance over the hypotheses of the class probabilities, summed over the classes [B, 1, *spatial]; of
            several slicing directions or mirror images the mean of theirs.
        entropy: entropy of the mean probabilities in nats, 0 .. ln K [B, 1, *spatial].
    """

    probabilities: torch.Tensor
    variance: torch.Tensor
    entropy: torch.Tensor


class SegmentationInferer(Inferer):
    """Goes through pictures and volumes slice by slice, in batches, at the network's size, and back to native size.

    Args:
        image_size: (H, W) that the network works at.
        axis: slicing direction of volumes in RAS orientation: "sagittal", "coronal" or "axial"; or several: the mean of
            their answers.
        num_slices: 1, or 3 for neighbouring slices as channels.
        batch_size: slices, or hypotheses of slices, at a time; the result depends on it by rounding only.
        num_samples: hypotheses per image, drawn with noise seeds noise_seed + i; the image is encoded once.
        noise_seed: of the first hypothesis; the network's own unless given.
        uncertainty: return :class:`HypothesisMaps` instead of probabilities alone.
        precision: "fp32", "bf16" or "fp16".
        mirror_axes: spatial axes along which the image is mirrored, segmented once more and mirrored back; the result
            is the mean with the answer to the image as it is. Of volumes 0 is left-right, 1 front-back, 2 up-down.

    Raises:
        InputError: When uncertainty is asked of fewer than two hypotheses; when called, several hypotheses of a network
            that draws none.
    """

    def __init__(
        self,
        image_size: Sequence[int],
        axis: str | Sequence[str] = "axial",
        num_slices: int = 1,
        batch_size: int = 16,
        num_samples: int = 1,
        uncertainty: bool = False,
        precision: str = "fp32",
        mirror_axes: Sequence[int] = (),
        noise_seed: int | None = None,
    ) -> None:
        super().__init__()
        if num_samples < 1 or batch_size < 1:
            raise InputError(f"num_samples ({num_samples}) and batch_size ({batch_size}) must be at least 1.")
        if uncertainty and num_samples < 2:
            raise InputError(
                f"Uncertainty is the spread of several hypotheses, but num_samples is {num_samples}; "
                "set num_samples to 2 or more, or uncertainty to false."
            )
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.axes = slice_directions(axis)
        self.num_slices = num_slices
        self.batch_size = batch_size
        self.num_samples = num_samples
        self.uncertainty = uncertainty
        self.precision = precision
        self.mirror_axes = check_mirror_axes(mirror_axes)
        self.noise_seed = noise_seed

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | HypothesisMaps:
        """Segment.

        Args:
            inputs: pictures [B, C, H, W] or volumes [B, C, X, Y, Z] (RAS), C = 1 or 3, in [0, 1], any spatial size.
            network: a diffusion model (:class:`~leaf_seg.networks.SavedNetwork`), bare or in DDP; or with
                ``num_samples`` = 1 and no ``noise_seed`` any network from [N, 3, H, W] to class probabilities
                [N, K, H, W].

        Returns:
            Class probabilities [B, K, *spatial] float32, or :class:`HypothesisMaps`; MetaTensors if the input is one.
        """
        images = convert_to_tensor(inputs, track_meta=False)
        maps = torch.stack([self._one_image(image, network) for image in images])  # [B, K (+ 1), *spatial]
        if not self.uncertainty:
            return _like(maps, inputs)
        probabilities, variance = maps[:, :-1], maps[:, -1:]
        entropy = torch.special.entr(probabilities).sum(dim=1, keepdim=True)
        return HypothesisMaps(*(_like(array, inputs) for array in (probabilities, variance, entropy)))

    def _one_image(self, image: torch.Tensor, network: Callable[..., Any]) -> torch.Tensor:
        """Mean over slicing directions and mirror images, [K (+ 1), *spatial]."""
        axes = self.axes if image.ndim == 4 else self.axes[:1]
        total = sum(self._along(image, axis, network) for axis in axes)
        for mirrored in self.mirror_axes:
            if mirrored >= image.ndim - 1:
                raise InputError(f"mirror_axes has {mirrored}; a picture has the axes 0 and 1.")
            flipped = image.flip(1 + mirrored)
            for axis in axes:
                total = total + self._along(flipped, axis, network).flip(1 + mirrored)
        return cast(torch.Tensor, total) / (len(axes) * (1 + len(self.mirror_axes)))

    def _along(self, image: torch.Tensor, axis: str, network: Callable[..., Any]) -> torch.Tensor:
        slices = to_slices(image, axis)  # [S, C, H, W]
        native = tuple(slices.shape[2:])
        batches = []
        for start in range(0, len(slices), self.batch_size):
            indices = range(start, min(start + self.batch_size, len(slices)))
            with autocast(slices.device, self.precision):
                hypotheses = self._hypotheses(self._network_input(slices, indices), network)
            batches.append(self._combine(hypotheses, native))
        return from_slices(torch.cat(batches), axis, is_volume=image.ndim == 4)

    def _network_input(self, slices: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        return resize_image(slice_channels(slices, indices, self.num_slices), self.image_size)  # [N, 3, h, w]

    def _hypotheses(self, images: torch.Tensor, network: Any) -> torch.Tensor:
        """Class probabilities [num_samples, N, K, h, w] of images [N, 3, h, w]."""
        if self.num_samples == 1 and self.noise_seed is None:
            return network(images)[None]
        diffusion_model: SavedNetwork = bare(network)
        seeds = diffusion_model.noise_seeds(self.num_samples)
        if self.noise_seed is not None:
            seeds = range(self.noise_seed, self.noise_seed + self.num_samples)
        return diffusion_model.hypotheses(images, seeds, self.batch_size)

    def _combine(self, hypotheses: torch.Tensor, native: Sequence[int]) -> torch.Tensor:
        resized = torch.stack([resize_image(h.float(), native) for h in hypotheses])  # [num_samples, N, K, H, W]
        mean = resized.mean(dim=0)
        if not self.uncertainty:
            return mean
        variance = resized.var(dim=0, correction=0).sum(dim=1, keepdim=True)
        return torch.cat([mean, variance], dim=1)


def inferer_for(
    settings: ModelSettings,
    batch_size: int = 16,
    num_samples: int = 1,
    uncertainty: bool | str = False,
    precision: str = "fp32",
    noise_seed: int | None = None,
) -> SegmentationInferer:
    """The inferer of a model; arguments as of :class:`SegmentationInferer`.

    Raises:
        InputError: When they do not fit.
    """
    return SegmentationInferer(
        settings.image_size,
        axis=settings.axis,
        num_slices=settings.num_slices,
        batch_size=batch_size,
        num_samples=num_samples,
        uncertainty=parse_bool(uncertainty, "uncertainty"),
        precision=precision,
        mirror_axes=settings.mirror_axes,
        noise_seed=noise_seed,
    )


def _like(maps: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """With the metadata of the input, without which MONAI's Invertd leaves a tensor as it is."""
    return MetaTensor(maps).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else maps


class RoundTripInferer(SegmentationInferer):
    """Sends label maps, instead of images, through a :class:`~leaf_seg.networks.reconstruction.MaskRoundTrip`."""

    def _network_input(self, slices: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        return resize_label(slices[list(indices)], self.image_size)  # [N, 1, h, w]
