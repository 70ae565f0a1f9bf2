"""From an image of any size to class probabilities at that size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_tensor

from leaf_seg.data.slicing import (
    check_mirror_axes,
    resize_image,
    resize_label,
    slice_axis,
    slice_channels,
    slice_directions,
    to_slices,
)
from leaf_seg.inference.answers import Answers
from leaf_seg.inference.fast_network import ReadyNetwork
from leaf_seg.metrics.expected_dice import ExpectedDice
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.distributed import bare
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import autocast
from leaf_seg.transforms.most_probable import most_probable
from leaf_seg.transforms.temperature import tempered_label, tempered_maps


class SegmentationInferer(Inferer):
    """Goes through pictures and volumes slice by slice, in batches, at the network's size, and back to native size.

    What a batch of slices gives is put where it belongs at once, class by class, so that beside the result only a
    batch is held.

    Args:
        image_size: (H, W) that the network works at.
        axis: slicing direction of volumes in RAS orientation: "sagittal", "coronal" or "axial"; or several: the mean of
            their answers.
        num_slices: 1, or 3 for neighbouring slices as channels.
        batch_size: slices, or hypotheses of slices, at a time; the result depends on it by rounding only.
        num_samples: hypotheses per image, drawn with seeds noise_seed + i; of an ensemble one for each member.
        noise_seed: of the first hypothesis; the network's own unless given.
        probabilities: False returns labels, unless there is uncertainty, which needs the probabilities; of one slicing
            direction without mirror images the probabilities of a batch only are then held.
        uncertainty: return :class:`Answers` with variance and entropy instead of probabilities alone.
        precision: "fp32", "bf16" or "fp16", by autocast; a
            :class:`~leaf_seg.inference.fast_network.ReadyNetwork` has its own.
        mirror_axes: spatial axes along which the image is mirrored, segmented once more and mirrored back; the result
            is the mean with the answer to the image as it is. Of volumes 0 is left-right, 1 front-back, 2 up-down.
        expected_dice: return :class:`Answers` instead of probabilities or labels alone.
        temperature: of entropy and expected Dice (:func:`~leaf_seg.transforms.temperature.tempered_maps`); the
            probabilities are tempered in the grid of the file, where no label changes with it.
        keep_hypotheses: return :class:`Answers` with every hypothesis, where there are several: as many maps as there
            are classes for each.

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
        probabilities: bool = True,
        expected_dice: bool = False,
        keep_hypotheses: bool = False,
        temperature: float = 1.0,
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
        self.temperature = temperature
        self.num_kept = num_samples if keep_hypotheses and num_samples > 1 else 0
        self.probabilities = probabilities or uncertainty or self.num_kept > 0
        self.expected_dice = expected_dice or uncertainty or self.num_kept > 0

    def check(self, network: Callable[..., Any], device: torch.device) -> None:
        """Find out before the first image what would go wrong with every one.

        Raises:
            InputError: When the network does not have so many hypotheses, or the device does not have the precision.
        """
        self._autocast(network, device)
        asked: Any = bare(network)
        if self.noise_seed is None and isinstance(asked, (SavedNetwork, ReadyNetwork)):
            asked.check_samples(self.num_samples)
        elif self.num_samples > 1 or self.noise_seed is not None:
            asked.noise_seeds(self.num_samples)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | Answers:
        """Segment.

        Args:
            inputs: pictures [B, C, H, W] or volumes [B, C, X, Y, Z] (RAS), C = 1 or 3, in [0, 1], any spatial size.
            network: a diffusion model (:class:`~leaf_seg.networks.SavedNetwork`), bare or in DDP; or with
                ``num_samples`` = 1 and no ``noise_seed`` any network from [N, 3, H, W] to class probabilities
                [N, K, H, W].

        Returns:
            Class probabilities [B, K, *spatial] float32, or without probabilities labels, uint8 [B, 1, *spatial]; or
            :class:`Answers`. MetaTensors if the input is one.
        """
        images = convert_to_tensor(inputs, track_meta=False)
        pairs = [self._one_image(image, network) for image in images]
        answers = [answer for answer, _ in pairs]
        maps = torch.stack(answers) if len(answers) > 1 else answers[0][None]  # [B, channels or 1, *spatial]
        if not self.expected_dice:
            return _like(maps, inputs)
        expected_dice = torch.stack([expected.compute() for _, expected in pairs])
        if not self.probabilities:
            return Answers(_like(maps, inputs), expected_dice)
        found, variance, hypotheses = self._taken_apart(maps)
        probabilities, entropy, kept = _like(found, inputs), None, None
        if variance is not None:
            variance, entropy = _like(variance, inputs), _like(_entropy(found, self.temperature), inputs)
        if hypotheses is not None:
            kept = _like(hypotheses, inputs)
        return Answers(probabilities, expected_dice, variance, entropy, kept)

    def _num_channels(self, num_classes: int) -> int:
        """Of the sums: the mean probabilities, perhaps their variance, perhaps class by class those of hypotheses."""
        return num_classes * (1 + self.num_kept) + self.uncertainty

    def _num_classes(self, num_channels: int) -> int:
        return (num_channels - self.uncertainty) // (1 + self.num_kept)

    def _taken_apart(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Probabilities [B, K, *spatial], variance [B, 1, *spatial], hypotheses [B, num_samples, K, *spatial]."""
        k = self._num_classes(maps.shape[1])
        variance = maps[:, k : k + 1] if self.uncertainty else None
        kept = maps[:, k + self.uncertainty :].unflatten(1, (k, -1)).transpose(1, 2) if self.num_kept else None
        return maps[:, :k], variance, kept

    def _autocast(self, network: Callable[..., Any], device: torch.device) -> torch.autocast:
        """That of the precision, unless the network sees to it itself."""
        return autocast(device, "fp32" if isinstance(network, ReadyNetwork) else self.precision)

    def _one_image(self, image: torch.Tensor, network: Callable[..., Any]) -> tuple[torch.Tensor, ExpectedDice]:
        """Mean over slicing directions and mirror images, [channels, *spatial], or labels [1, *spatial]; their Dice."""
        axes = self.axes if image.ndim == 4 else self.axes[:1]
        if not self.probabilities and len(axes) == 1 and not self.mirror_axes:
            return self._labels(image, axes[0], network)
        total = torch.zeros(0)
        for mirrored in (None, *self.mirror_axes):
            if mirrored is not None and mirrored >= image.ndim - 1:
                raise InputError(f"mirror_axes has {mirrored}; a picture has the axes 0 and 1.")
            seen = image if mirrored is None else image.flip(1 + mirrored)
            for axis in axes:
                for place, hypotheses in self._along(to_slices(seen, axis), network):
                    if not len(total):  # now the number of classes is known
                        channels = self._num_channels(hypotheses.shape[2])
                        total = torch.zeros((channels, *image.shape[1:]), device=hypotheses.device)
                    self._add(to_slices(total, axis), place, hypotheses, _slice_dimension(image, axis, mirrored))
        total /= len(axes) * (1 + len(self.mirror_axes))
        expected = ExpectedDice()
        if self.probabilities and not self.expected_dice:
            return total, expected
        label = tempered_label(total[: self._num_classes(len(total))], self.temperature, expected)[None]
        return total if self.probabilities else label, expected

    def _labels(self, image: torch.Tensor, axis: str, network: Callable[..., Any]) -> tuple[torch.Tensor, ExpectedDice]:
        """Labels [1, *spatial] of one slicing direction, each batch of slices reduced as it comes."""
        label = torch.zeros((1, *image.shape[1:]), dtype=torch.uint8, device=image.device)
        slices, expected = to_slices(label, axis), ExpectedDice()  # [S, 1, H, W]
        for place, hypotheses in self._along(to_slices(image, axis), network):
            maps = (_mean(self._resized(hypotheses, k, slices.shape[2:])) for k in range(hypotheses.shape[2]))
            if self.temperature == 1:
                slices[place] = most_probable(maps, expected)
            else:
                slices[place] = tempered_label(torch.stack(list(maps)), self.temperature, expected)
        return label, expected

    def _along(self, slices: torch.Tensor, network: Callable[..., Any]) -> Iterator[tuple[slice, torch.Tensor]]:
        """Batch by batch of slices [S, C, H, W] which they are, and their hypotheses [num_samples, N, K, h, w]."""
        for start in range(0, len(slices), self.batch_size):
            indices = range(start, min(start + self.batch_size, len(slices)))
            with self._autocast(network, slices.device):
                hypotheses = self._hypotheses(self._network_input(slices, indices), network)
            yield slice(indices.start, indices.stop), hypotheses

    def _add(self, total: torch.Tensor, place: slice, hypotheses: torch.Tensor, mirrored: int | None) -> None:
        """Add what hypotheses say of some slices to the sums [S, channels, H, W].

        The slices are of an image that is mirrored along the dimension ``mirrored`` of the sums.
        """
        if mirrored == 0:
            place = slice(len(total) - place.stop, len(total) - place.start)
        num_classes = hypotheses.shape[2]
        for k in range(num_classes):
            found = self._resized(hypotheses, k, total.shape[2:])  # [num_samples, N, 1, H, W]
            mean = _mean(found)
            total[place, k : k + 1] += _as_it_was(mean, mirrored)
            if self.num_kept:
                first = num_classes + self.uncertainty + k * self.num_kept
                total[place, first : first + self.num_kept] += _as_it_was(found[:, :, 0].movedim(0, 1), mirrored)
            if self.uncertainty:  # torch.var along the first dimension takes many times as long
                variance = total[place, num_classes : num_classes + 1]
                variance += _as_it_was((found - mean).square_().mean(dim=0), mirrored)

    def _network_input(self, slices: torch.Tensor, indices: range) -> torch.Tensor:
        """[N, 3, h, w] of slices [S, C, H, W]."""
        reach = self.num_slices // 2  # of the neighbours, that are channels
        first, last = max(indices.start - reach, 0), min(indices.stop + reach, len(slices))
        resized = resize_image(slices[first:last], self.image_size)
        if slices.shape[1] == 3 and slices.stride(1) == 1:  # RGB as files have it; last bits depend on the layout
            resized = resized.contiguous(memory_format=torch.channels_last)
        return slice_channels(resized, [index - first for index in indices], self.num_slices)

    def _hypotheses(self, images: torch.Tensor, network: Any) -> torch.Tensor:
        """Class probabilities [num_samples, N, K, h, w] of images [N, 3, h, w]."""
        if self.num_samples == 1 and self.noise_seed is None:
            return network(images)[None]
        diffusion_model: SavedNetwork = bare(network)
        seeds = diffusion_model.noise_seeds(self.num_samples)
        if self.noise_seed is not None:
            seeds = range(self.noise_seed, self.noise_seed + self.num_samples)
        return diffusion_model.hypotheses(images, seeds, self.batch_size)

    def _resized(self, hypotheses: torch.Tensor, k: int, size: Sequence[int]) -> torch.Tensor:
        """Probabilities of one class, [num_samples, N, 1, H, W] from [num_samples, N, K, h, w]."""
        resized = [resize_image(hypothesis[:, k : k + 1].float(), size) for hypothesis in hypotheses]
        return torch.stack(resized) if len(resized) > 1 else resized[0][None]


def _like(maps: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """With the metadata of the input, without which MONAI's Invertd leaves a tensor as it is."""
    return MetaTensor(maps).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else maps


def _mean(found: torch.Tensor) -> torch.Tensor:
    """Mean over hypotheses, [N, 1, H, W] from [num_samples, N, 1, H, W]."""
    return found.mean(dim=0) if len(found) > 1 else found[0]


def _entropy(probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """In nats, [B, 1, *spatial] from [B, K, *spatial]; class by class, since each of its maps is a copy."""
    entropy = torch.zeros_like(probabilities[:, 0])
    for values in tempered_maps(probabilities.movedim(1, 0), temperature):
        entropy += torch.special.entr(values)
    return entropy[:, None]


def _as_it_was(values: torch.Tensor, mirrored: int | None) -> torch.Tensor:
    return values if mirrored is None else values.flip(mirrored)


def _slice_dimension(image: torch.Tensor, axis: str, mirrored: int | None) -> int | None:
    """Dimension of slices [S, C, H, W] that a spatial axis of their picture [C, H, W] or volume [C, X, Y, Z] is."""
    if mirrored is None or image.ndim == 3:
        return None if mirrored is None else 2 + mirrored
    in_plane = [array_axis for array_axis in range(3) if array_axis != slice_axis(axis)]
    return 2 + in_plane.index(mirrored) if mirrored in in_plane else 0


class RoundTripInferer(SegmentationInferer):
    """Sends label maps, instead of images, through a :class:`~leaf_seg.networks.reconstruction.MaskRoundTrip`."""

    def _network_input(self, slices: torch.Tensor, indices: range) -> torch.Tensor:
        return resize_label(slices[list(indices)], self.image_size)  # [N, 1, h, w]
