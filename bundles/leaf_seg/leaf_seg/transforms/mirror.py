"""Mirror images of training slices, along the picture's or the body's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor

from leaf_seg.runtime.errors import InputError


class RandMirror(RandomizableTransform, MapTransform):
    """Mirrors a slice along each axis with a probability of its own.

    With two probabilities the axes are the slice's own. With three they are those of the volume that the slice was cut
    from (RAS), whatever the slicing direction: mirroring across the slice leaves it as it is and, where its channels
    are neighbouring slices, turns their order round.

    Args:
        keys: of images [C, H, W] and label maps [1, H, W].
        probability: of the slice's two axes; or left-right, front-back and up-down.
        num_slices: 1, or 3 where the channels of the first key are neighbouring slices.

    Raises:
        InputError: When there are not two or three probabilities; when called with three on a picture.
    """

    def __init__(self, keys: KeysCollection, probability: Sequence[float], num_slices: int = 1) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.probability = check_flip_probability(probability)
        self.neighbour_keys = self.keys[:1] if num_slices > 1 else ()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Mirror ``data``, which says in "slice_axis" across which axis of a volume (0 to 2) the slice lies."""
        mirrored = [axis for axis, p in enumerate(self.probability) if self.R.random_sample() < p]
        result = dict(data)
        across = int(data["slice_axis"]) if "slice_axis" in data else None
        in_plane, turns_order = mirrored_dims(mirrored, len(self.probability), across)
        for key in self.key_iterator(result):
            array = convert_to_tensor(result[key], track_meta=False)
            dims = [*in_plane, 0] if turns_order and key in self.neighbour_keys else in_plane
            result[key] = torch.flip(array, dims)
        return result


def check_flip_probability(probability: Sequence[float]) -> tuple[float, ...]:
    """The probabilities of mirroring along each axis.

    Raises:
        InputError: When there are not two or three, or one is none.
    """
    if (
        not isinstance(probability, Sequence)
        or len(probability) not in (2, 3)
        or not all(0 <= p <= 1 for p in probability)
    ):
        raise InputError(
            f"flip_probability is {probability!r}; expected two probabilities (the slice's axes) or three "
            "(left-right, front-back, up-down of a volume), each from 0 to 1."
        )
    return tuple(probability)


def mirrored_dims(mirrored: Sequence[int], num_axes: int, across: int | None) -> tuple[list[int], bool]:
    """Along which dimensions of a slice [C, H, W] it is mirrored, and whether the order of its neighbours turns round.

    Args:
        mirrored: axes along which is mirrored, of the slice (``num_axes`` 2) or of its volume (3).
        num_axes: 2 or 3.
        across: axis of its volume across which the slice lies; None for a picture.

    Raises:
        InputError: When the axes are a volume's and the slice is a picture.
    """
    if num_axes == 2:
        return [1 + axis for axis in mirrored], False
    if across is None:
        raise InputError(
            "flip_probability has three numbers, but the training images are pictures; give two: of the "
            "rows' and of the columns' direction."
        )
    in_plane = [axis for axis in range(3) if axis != across]
    return [1 + in_plane.index(axis) for axis in mirrored if axis != across], across in mirrored
