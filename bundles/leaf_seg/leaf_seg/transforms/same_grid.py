"""Whether two volumes lie in the same place in space, and a label in the voxel order of its image."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from leaf_seg.image_io.meta_tensor import HAS_SIZE

_PART_OF_VOXEL = 0.05  # headers are written with few digits, and by programs that round differently
_UNITS = (1e-3, 1e3)  # of a label whose header names none, while its image is in micrometres or metres
_PART_OF_PLACE = 1e-5  # of the distance from the origin: five digits


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """How far apart, in mm, corresponding corners of two volumes of the same shape are at most.

    Args:
        first: MetaTensor [C, X, Y, Z].
        second: another one; nothing but its affine is looked at.
    """
    return _distance(_affine(first), _affine(second), tuple(first.shape[1:]))


def tolerance(image: torch.Tensor) -> float:
    """How far apart, in mm, corners may be that only rounding has moved: a part of a voxel, and of their place."""
    affine = _affine(image)
    smallest = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    return _PART_OF_VOXEL * smallest + _PART_OF_PLACE * float(np.abs(_corners(affine, tuple(image.shape[1:]))).max())


def in_order_of(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The label with its axes swapped and turned as the image's, where that puts every voxel in its place.

    A label that is there but for the unit of length, which programs leave out of headers, is there, too. So is a stack
    of pictures beside another one, where one of the two files does not say how large voxels are.

    Args:
        image: MetaTensor [C, X, Y, Z].
        label: MetaTensor [1, ...] of the same voxels in another order, such as LPS beside RAS.

    Returns:
        A label in the image's grid; the label itself where it is there already, or has another grid.
    """
    if image.ndim != 4 or label.ndim != 4 or not isinstance(label, MetaTensor):
        return label
    if _leaves_size_open(image, label):
        return MetaTensor(label.as_tensor(), affine=torch.from_numpy(_affine(image)), meta=dict(label.meta))
    for factor in _UNITS:
        scaled = np.diag([factor, factor, factor, 1.0]) @ _affine(label)
        if label.shape[1:] == image.shape[1:] and _distance(scaled, _affine(image), label.shape[1:]) <= tolerance(
            image
        ):
            return MetaTensor(label.as_tensor(), affine=torch.from_numpy(_affine(image)), meta=dict(label.meta))
    to_image = np.linalg.inv(_affine(image)) @ _affine(label)
    orientation = io_orientation(to_image)
    if np.isnan(orientation).any() or (orientation == [[0, 1], [1, 1], [2, 1]]).all():
        return label
    shape = tuple(label.shape[1:])
    turned = apply_orientation(label.as_tensor().numpy()[0], orientation)
    affine = _affine(label) @ inv_ornt_aff(orientation, shape)
    if turned.shape != tuple(image.shape[1:]) or _distance(affine, _affine(image), turned.shape) > tolerance(image):
        return label
    meta = dict(label.meta) | {"spatial_shape": np.array(turned.shape), "original_affine": affine}
    values = torch.from_numpy(np.ascontiguousarray(turned)[None])
    return MetaTensor(values, affine=torch.from_numpy(affine), meta=meta)


def _leaves_size_open(image: torch.Tensor, label: MetaTensor) -> bool:
    """Whether both are stacks of pictures of the same shape, and one of the files does not say its voxels' size."""
    said = [one.meta.get(HAS_SIZE) for one in (image, label) if isinstance(one, MetaTensor)]
    return len(said) == 2 and None not in said and not all(said) and image.shape[1:] == label.shape[1:]


def _affine(image: torch.Tensor) -> np.ndarray:
    assert isinstance(image, MetaTensor)
    return np.asarray(image.affine, dtype=np.float64)


def _corners(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Places of the outermost voxels [8, 3]."""
    indices = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))])
    return np.asarray((indices @ affine.T)[:, :3])


def _distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    return float(np.linalg.norm(_corners(first, shape) - _corners(second, shape), axis=1).max())
