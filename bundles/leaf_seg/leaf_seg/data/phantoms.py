"""Generated images with known labels: textured, noisy, some of them hard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from leaf_seg.runtime.errors import InputError

FloatArray = NDArray[np.floating]

# Mean values of background and classes 1 to 3 at full contrast; the colours are near those of stained cells.
_GREY = np.array([[0.35], [0.58], [0.18], [0.85]])
_RGB = np.array([[0.82, 0.72, 0.74], [0.62, 0.54, 0.76], [0.36, 0.20, 0.52], [0.78, 0.34, 0.30]])


def phantom(
    shape: Sequence[int],
    num_classes: int,
    rng: np.random.Generator,
    channels: int = 1,
    kind: str = "normal",
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make one phantom.

    One to three smooth blobs are class 1, like cells; class 2 lies inside them, like their nuclei; class 3 is a thin
    curved thread outside of them. Contrast, edge blur, texture, noise and shading (bias field) vary from case to case.

    Args:
        shape: (H, W) or (X, Y, Z); at least 16 each.
        num_classes: 2 to 4, background included.
        rng: source of all randomness.
        channels: 1 or 3 (RGB).
        kind: "normal", "small" (one blob of a few pixels, a short thread) or "empty" (background only).

    Returns:
        The image [C, *shape] float32 in [0, 1] and the label [*shape] uint8 in 0 .. num_classes - 1.

    Raises:
        InputError: For arguments out of range.
    """
    if min(shape) < 16:
        raise InputError(f"The phantom's size is {tuple(shape)}; expected at least 16 in every direction.")
    if not 2 <= num_classes <= 4:
        raise InputError(f"num_classes is {num_classes}; phantoms have 2 to 4 classes, background included.")
    if channels not in (1, 3):
        raise InputError(f"channels is {channels}; expected 1 (grey) or 3 (RGB).")
    if kind not in ("normal", "small", "empty"):
        raise InputError(f"kind is {kind!r}; expected normal, small or empty.")
    label = np.zeros(shape, np.uint8)
    if kind != "empty":
        for _ in range(1 if kind == "small" else rng.integers(1, 4)):
            _add_cell(label, num_classes > 2, kind == "small", rng)
        if num_classes > 3:
            _add_thread(label, kind == "small", rng)
    return _render(label, num_classes, channels, rng), label


def _add_cell(label: NDArray[np.uint8], with_nucleus: bool, is_small: bool, rng: np.random.Generator) -> None:
    """Draw a blob of class 1, and one of class 2 inside it, into ``label``."""
    shape = np.array(label.shape)
    low, high = (0.06, 0.09) if is_small else (0.13, 0.26)
    radius = max(3.0, rng.uniform(low, high) * _extent(label.shape))
    centre = rng.uniform(0.2, 0.8, len(shape)) * shape
    cell = _distance(label.shape, centre, radius, rng)
    label[(cell < 1) & (label == 0)] = 1
    if with_nucleus:
        nucleus_radius = rng.uniform(0.4, 0.6) * radius
        offset = rng.uniform(-0.2, 0.2, len(shape)) * radius
        nucleus = _distance(label.shape, centre + offset, nucleus_radius, rng)
        label[(nucleus < 1) & (cell < 0.85)] = 2


def _distance(shape: tuple[int, ...], centre: FloatArray, radius: float, rng: np.random.Generator) -> FloatArray:
    """Distance [*shape] from ``centre``, below 1 inside of a randomly turned ellipsoid with an uneven surface."""
    dimension = len(shape)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    radii = radius * rng.uniform(0.75, 1.25, dimension)
    offset = np.indices(shape).reshape(dimension, -1) - centre[:, None]
    distance = np.linalg.norm(rotation @ offset / radii[:, None], axis=0).reshape(shape)
    return distance + rng.uniform(0.03, 0.12) * smooth_noise(shape, 0.4 * radius, rng)


def _add_thread(label: NDArray[np.uint8], is_short: bool, rng: np.random.Generator) -> None:
    """Draw a thread of class 3, along a smooth random walk, into the background of ``label``."""
    shape, extent = np.array(label.shape), _extent(label.shape)
    length = (0.15 if is_short else rng.uniform(0.5, 1.0)) * extent
    radius = max(1.0, (0.01 if is_short else rng.uniform(0.012, 0.025)) * extent)
    step = 0.5  # pixels: leaves no gaps
    start = np.argwhere(label == 0)[rng.integers((label == 0).sum())]
    towards_centre = shape / 2 - start
    direction = towards_centre / max(np.linalg.norm(towards_centre), 1.0) + rng.normal(0, 0.5, len(shape))
    turns = np.cumsum(rng.normal(0, 0.08, (int(length / step), len(shape))), axis=0) + direction
    walk = start + step * np.cumsum(turns / np.linalg.norm(turns, axis=1, keepdims=True), axis=0)
    points = np.vstack([start, walk])
    points = points[((points >= 0) & (points <= shape - 1)).all(axis=1)]
    near = cKDTree(points).query(np.argwhere(label == 0), distance_upper_bound=radius)[0] <= radius
    label[label == 0] = np.where(near, 3, 0)


def _render(label: NDArray[np.uint8], num_classes: int, channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The image [C, *spatial] in [0, 1] of a label map [*spatial]."""
    shape, extent = label.shape, _extent(label.shape)
    mean = _GREY if channels == 1 else _RGB
    contrast = rng.uniform(0.45, 1.0)
    levels = mean[0] + contrast * (mean - mean[0]) + rng.normal(0, 0.02, mean.shape)  # [4, C]
    scales = (1.0, 0.03 * extent, 0.1 * extent)
    texture = sum(rng.uniform(0.3, 1.0) * smooth_noise(shape, scale, rng) for scale in scales)
    amplitude = rng.uniform(0.01, 0.04, num_classes)[label]
    shading = np.exp(rng.uniform(0.05, 0.2) * smooth_noise(shape, 0.3 * extent, rng))
    blur = rng.uniform(0.4, 1.0)
    image = np.stack([ndimage.gaussian_filter(levels[label, channel], blur) for channel in range(channels)])
    noise = rng.normal(0, rng.uniform(0.01, 0.06), image.shape)
    return np.clip((image + amplitude * texture) * shading + noise, 0, 1).astype(np.float32)


def _extent(shape: tuple[int, ...]) -> float:
    """Length in pixels that sizes are shares of; greater for volumes, where a slice seldom meets a blob's middle."""
    return float(np.prod(shape)) ** (1 / len(shape)) * (1.4 if len(shape) == 3 else 1.0)


def smooth_noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> FloatArray:
    """Noise of mean 0 and deviation 1, smoothed by a Gaussian of ``scale`` pixels; periodic at the borders."""
    spectrum = ndimage.fourier_gaussian(np.fft.rfftn(rng.normal(size=shape)), scale, n=shape[-1])
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    noise -= noise.mean()
    return noise / max(noise.std(), 1e-12)
