"""Labels of phantoms by several raters, who differ in where an edge runs and in whether a structure is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from leaf_seg.data.phantoms import smooth_noise

_OVERLOOKED = 0.25  # chance of a structure to be no finding to a rater
_EDGE = (1.5, 1.0, 8.0)  # pixels: spread of where raters draw all edges, of single places, and how far these reach


def rater_labels(label: NDArray[np.uint8], num_raters: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """What several raters make of a phantom: each a label of its own.

    Each rater draws all edges too far out or in by an offset of its own, errs along them, and leaves out one in four of
    the connected structures, so that no single answer is near all raters.

    Args:
        label: class indices, uint8 [*spatial].
        num_raters: labels to make.
        rng: source of all randomness.

    Returns:
        ``num_raters`` labels like ``label``.
    """
    pieces, count = ndimage.label(label > 0)
    if count == 0:
        return [label.copy() for _ in range(num_raters)]
    offsets, local, reach = _EDGE
    labels = []
    for _ in range(num_raters):
        marked = np.concatenate([[False], rng.random(count) >= _OVERLOOKED])
        kept = np.where(marked[pieces], label, 0).astype(np.uint8)
        shift = offsets * rng.normal() + local * smooth_noise(label.shape, reach, rng)
        labels.append(_with_moved_edge(kept, shift))
    return labels


def majority(labels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The class that most raters chose at each place; of equally many the lower."""
    votes = np.stack([np.sum([label == index for label in labels], axis=0) for index in range(int(np.max(labels)) + 1)])
    return votes.argmax(axis=0).astype(np.uint8)


def _with_moved_edge(label: NDArray[np.uint8], shift: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Move the foreground's edge outwards by ``shift`` pixels; new places have the class of the nearest."""
    if not label.any():
        return label
    outside, nearest = ndimage.distance_transform_edt(label == 0, return_indices=True)
    signed = outside - ndimage.distance_transform_edt(label > 0)
    return np.where(signed <= shift, label[tuple(nearest)], 0).astype(np.uint8)
