"""Temperature scaling: probabilities that are as sure as they are right, and the same labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from leaf_seg.transforms.most_probable import Tally, most_probable

LEAST_PROBABILITY = 1e-6  # whose logarithm stands for that of 0, here and in the likelihood


def tempered_maps(probabilities: torch.Tensor, temperature: float) -> Iterator[torch.Tensor]:
    """Class by class p^(1 / T), of all classes together 1 (Guo et al., ICML 2017): softmax(ln p / T).

    Differs from the paper: p below :data:`LEAST_PROBABILITY` counts as that. The decoders of latent diffusion give
    probabilities of exactly 0, which have no logit.

    Args:
        probabilities: [K, *spatial], background first.
        temperature: T; above 1 less sure, below 1 surer; 1 changes nothing.

    Yields:
        K maps [*spatial].
    """
    if temperature == 1:
        yield from probabilities
        return
    greatest = probabilities.amax(dim=0)
    total = torch.zeros_like(greatest)
    for values in probabilities:
        total += _power(values, greatest, temperature)
    for values in probabilities:
        yield _power(values, greatest, temperature) / total


def tempered(probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """The maps of :func:`tempered_maps`, [K, *spatial]; with T = 1 the tensor itself."""
    return probabilities if temperature == 1 else torch.stack(list(tempered_maps(probabilities, temperature)))


def tempered_label(probabilities: torch.Tensor, temperature: float, tally: Tally) -> torch.Tensor:
    """The most probable class, which no temperature changes; the tally is shown the tempered probabilities.

    Args:
        probabilities: [K, *spatial].
        temperature: of what the tally sees.
        tally: as of :func:`~leaf_seg.transforms.most_probable.most_probable`.

    Returns:
        Class indices, uint8 [*spatial].
    """
    label = most_probable(tempered_maps(probabilities, temperature), tally)
    return label if temperature == 1 else most_probable(probabilities)  # where rounding makes two classes alike


class Temper(MapTransform):
    """Temper class probabilities [K, *spatial].

    Args:
        keys: of the probabilities.
        temperature: as of :func:`tempered_maps`.
    """

    def __init__(self, keys: KeysCollection, temperature: float) -> None:
        super().__init__(keys)
        self.temperature = temperature

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Temper those of ``data``, which keep their metadata."""
        result = dict(data)
        if self.temperature == 1:
            return result
        for key in self.key_iterator(result):
            values = tempered(convert_to_tensor(data[key], track_meta=False), self.temperature)
            is_meta = isinstance(data[key], MetaTensor)
            result[key] = MetaTensor(values).copy_meta_from(data[key]) if is_meta else values
        return result


def _power(values: torch.Tensor, greatest: torch.Tensor, temperature: float) -> torch.Tensor:
    return (values.clamp(min=LEAST_PROBABILITY) / greatest) ** (1 / temperature)
