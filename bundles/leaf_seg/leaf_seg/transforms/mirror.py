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
        if (
            not isinstance(probability, Sequence)
            or len(probability) not in (2, 3)
            or not all(0 <= p <= 1 for p in probability)
        ):
            raise InputError(
                f"flip_probability is {probability!r}; expected two probabilities (the slice's axes) or three "
                "(left-right, front-back, up-down of a volume), each from 0 to 1."
            )
        self.probability = tuple(probability)
        self.neighbour_keys = self.keys[:1] if num_slices > 1 else ()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Mirror ``data``, which says in "slice_axis" across which axis of a volume (0 to 2) the slice lies."""
        mirrored = [axis for axis, p in enumerate(self.probability) if self.R.random_sample() < p]
        result = dict(data)
        across = None
        if len(self.probability) == 3:
            if "slice_axis" not in data:
                raise InputError(
                    "flip_probability has three numbers, but the training images are pictures; give two: of the "
                    "rows' and of the columns' direction."
                )
            across = int(data["slice_axis"])
            in_plane = [axis for axis in range(3) if axis != across]
        for key in self.key_iterator(result):
            array = convert_to_tensor(result[key], track_meta=False)
            if across is None:
                dims = [1 + axis for axis in mirrored]
            else:
                dims = [1 + in_plane.index(axis) for axis in mirrored if axis != across]
                if across in mirrored and key in self.neighbour_keys:
                    dims.append(0)
            result[key] = torch.flip(array, dims)
        return result
