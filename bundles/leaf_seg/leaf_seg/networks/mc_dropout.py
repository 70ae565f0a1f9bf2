"""Hypotheses by the dropout that a network was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.networks.unsaved_network import UnsavedNetwork
from leaf_seg.runtime.errors import InputError

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_OWN_STREAM = 2**31  # apart from the noise of the same seed; PyTorch's generator for CPUs takes 32 bits of a seed


class McDropout(UnsavedNetwork):
    """A network whose dropout is active in its hypotheses (Gal and Ghahramani, ICML 2016, arXiv 1506.02142).

    A hypothesis is the answer with one pattern of what is dropped, which its seed gives. The pattern is that of one
    image: all images, slices and denoising steps have the same. So it does not depend on the batch, the order of
    images, or the device. Everything but dropout stays in evaluation mode. A network that draws noise draws that of the
    same seed, too. ``forward(image)`` is the network's own answer, without dropout.

    Differs from the paper: there each image has a pattern of its own.

    Args:
        network: trained with dropout; it is not changed.

    Raises:
        InputError: When no layer of it drops anything.
    """

    stages = ()  # neither compiled nor captured: layers get other patterns in every call

    def __init__(self, network: SavedNetwork) -> None:
        super().__init__()
        if not _active(network):
            raise InputError(
                f"mc_dropout is true, and this {type(network).__name__} was trained without dropout, "
                "which has nothing to drop. Train with dropout (--dropout 0.1), or leave mc_dropout out."
            )
        self.network = network
        self.num_classes = network.num_classes
        self.image_size = network.image_size

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """As in :class:`SavedNetwork`: those of the network."""
        return self.network.parts

    def check_samples(self, number: int) -> None:
        """As in :class:`SavedNetwork`.

        Raises:
            InputError: For one hypothesis, in which nothing would be dropped.
        """
        if number < 2:
            raise InputError(
                f"mc_dropout is true, and num_samples is {number}: the network's own answer has no dropout. Set "
                "num_samples to 2 or more, or leave mc_dropout out."
            )

    def noise_seeds(self, number: int) -> Sequence[int]:
        """Seeds of so many hypotheses: the network's own, or 0, 1, ... of one that draws no noise."""
        return self.network.noise_seeds(number) if self.network.draws_noise else range(number)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The network's own answer, class probabilities [B, K, H, W]."""
        return self.network(image)

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As in :class:`SavedNetwork`: class probabilities [S, B, K, H, W] with the patterns of S seeds."""
        return torch.stack([torch.cat(list(self._answers(image, seed, batch_size))) for seed in seeds])

    def _answers(self, image: torch.Tensor, seed: int, batch_size: int) -> Iterator[torch.Tensor]:
        """Answers [b, K, H, W] with one pattern, batch by batch."""
        for images in image.split(batch_size):
            with _dropping(self.network, seed, len(images)):
                if self.network.draws_noise:
                    yield self.network.hypotheses(images, [seed], len(images))[0]
                else:
                    yield self.network(images)


def _active(network: nn.Module) -> list[nn.Module]:
    """Layers that drop something in training."""
    return [layer for layer in network.modules() if isinstance(layer, DROPOUTS) and layer.p > 0]


@contextmanager
def _dropping(network: nn.Module, seed: int, num_images: int) -> Iterator[None]:
    """Let dropout layers drop the pattern of a seed of each image, whatever mode the network is in."""
    pattern = _Pattern(seed, num_images)
    handles = [layer.register_forward_hook(pattern) for layer in _active(network)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Pattern:
    """Forward hook of dropout layers in evaluation mode: what they were given, with the pattern of a seed dropped.

    Args:
        seed: of the pattern; layers draw theirs in the order in which they are first called.
        num_images: B, to which a layer is given [B * n, ...], the n of an image in a row.
    """

    def __init__(self, seed: int, num_images: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed ^ _OWN_STREAM)
        self._num_images = num_images
        self._masks: dict[tuple[nn.Module, torch.Size], torch.Tensor] = {}

    def __call__(self, layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        given = inputs[0]
        key = (layer, given.shape)  # the same in every denoising step
        if key not in self._masks:
            self._masks[key] = self._drawn(layer, given)
        return given * self._masks[key].to(given.dtype)

    def _drawn(self, layer: Any, given: torch.Tensor) -> torch.Tensor:
        """Factors, 0 or 1 / (1 - p), that fit a tensor [B * n, ...], the same for each image."""
        each, rest = divmod(len(given), self._num_images)
        if rest:
            raise ValueError(
                f"dropout of {tuple(given.shape)}: expected as many for each of {self._num_images} images."
            )
        is_whole = isinstance(layer, nn.Dropout)  # others drop channels
        shape = given.shape[1:] if is_whole else (given.shape[1], *[1] * (given.ndim - 2))
        kept = torch.rand((each, *shape), generator=self._generator) >= layer.p
        mask = (kept / (1 - layer.p)).to(given.device)
        return mask if each == 1 else mask.repeat(self._num_images, *[1] * (given.ndim - 1))
