"""Generated images with known labels: textured, noisy, some of them hard, for the demo, tests and the autoencoder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from leaf_seg.image_io.writing import write_image
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.floating]

# Mean values of background and classes 1 to 3 at full contrast; the colours are near those of stained cells.
_GREY = np.array([[0.35], [0.58], [0.18], [0.85]])
_RGB = np.array([[0.82, 0.72, 0.74], [0.62, 0.54, 0.76], [0.36, 0.20, 0.52], [0.78, 0.34, 0.30]])

# Every fourth case has small structures only, every ninth is empty. The split repeats every ten cases; the first case
# of each split (0, 1 and 2) is neither small nor empty.
_SMALL, _EMPTY = (4, 3), (9, 5)  # (period, first index)
_SPLITS = ("training", "validation", "testing", *["training"] * 4, "testing", *["training"] * 2)

_MOST_DRAWS = 1000
_DEFAULT_SIZES = {2: (128, 128), 3: (48, 48, 32)}


def make_phantoms(
    output_dir: str | os.PathLike[str],
    dimension: int = 2,
    num_cases: int = 20,
    num_classes: int = 3,
    size: Sequence[int] | None = None,
    seed: int = 0,
    channels: int = 1,
    target_share: Sequence[float] | None = None,
) -> Path:
    """Write a data set of phantoms: ``images/``, ``labels/`` and ``split.json`` (70 % training, 10 %, 20 % testing).

    A quarter of the cases has small structures only, a ninth none at all. A case depends on the seed and its number.

    Args:
        output_dir: folder to write to; made where needed.
        dimension: 2 writes 8-bit PNG files; 3 writes int16 NIfTI volumes with unequal spacings, whose orientation is
            RAS, LPI or oblique in turn.
        num_cases: at least 3, one for each split.
        num_classes: 2 to 4, background included.
        size: (H, W) or (X, Y, Z); at least 16 each. None is (128, 128) or (48, 48, 32).
        seed: of the random numbers.
        channels: 1 (grey) or 3 (RGB, pictures only).
        target_share: least and most share of the picture that a foreground may take where there is one; cases are drawn
            anew until it does. None takes what comes.

    Returns:
        ``output_dir``.

    Raises:
        InputError: For arguments out of range, and when the folder cannot be written to.
    """
    if dimension not in _DEFAULT_SIZES:
        raise InputError(f"dimension is {dimension!r}; expected 2 (pictures) or 3 (volumes).")
    shape = tuple(_DEFAULT_SIZES[dimension] if size is None else size)
    if len(shape) != dimension:
        raise InputError(f"size is {shape} for dimension {dimension}; expected {dimension} numbers.")
    if num_cases < 3:
        raise InputError(f"num_cases is {num_cases}; expected at least 3: one for training, validation and testing.")
    if dimension == 3 and channels != 1:
        raise InputError(f"channels is {channels}; expected 1 for volumes: RGB phantoms are pictures only.")

    root = Path(output_dir)
    for folder in ("images", "labels"):
        ensure_writable_folder(root / folder)
    split: dict[str, list[str]] = {name: [] for name in ("training", "validation", "testing")}
    for index in range(num_cases):
        rng = np.random.default_rng((seed, index))
        image, label = _phantom_within(target_share, shape, num_classes, rng, channels, _kind(index))
        name = f"phantom_{index:04d}" + (".png" if dimension == 2 else ".nii.gz")
        if dimension == 2:
            _save_picture(image, label, root, name)
        else:
            _save_volume(image, label, _affine(shape, index, rng), root, name)
        split[_SPLITS[index % len(_SPLITS)]].append(name)
    (root / "split.json").write_text(json.dumps(split, indent=1) + "\n")
    logger.info("Wrote %d phantoms of size %s to %s.", num_cases, "x".join(map(str, shape)), root)
    return root


def _phantom_within(
    target_share: Sequence[float] | None,
    shape: Sequence[int],
    num_classes: int,
    rng: np.random.Generator,
    channels: int,
    kind: str,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A phantom whose foreground, if it has one, takes such a share of it."""
    for _ in range(_MOST_DRAWS):
        image, label = phantom(shape, num_classes, rng, channels, kind)
        share = (label > 0).mean()
        if target_share is None or share == 0 or target_share[0] <= share <= target_share[1]:
            return image, label
    raise InputError(
        f"target_share is {list(target_share or ())}, and none of {_MOST_DRAWS} {kind} phantoms of {tuple(shape)} has "
        "such a foreground; expected two shares from 0 to 1 with more between them, such as 0.01 and 0.15."
    )


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
    return distance + rng.uniform(0.03, 0.12) * _smooth_noise(shape, 0.4 * radius, rng)


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
    texture = sum(rng.uniform(0.3, 1.0) * _smooth_noise(shape, scale, rng) for scale in scales)
    amplitude = rng.uniform(0.01, 0.04, num_classes)[label]
    shading = np.exp(rng.uniform(0.05, 0.2) * _smooth_noise(shape, 0.3 * extent, rng))
    blur = rng.uniform(0.4, 1.0)
    image = np.stack([ndimage.gaussian_filter(levels[label, channel], blur) for channel in range(channels)])
    noise = rng.normal(0, rng.uniform(0.01, 0.06), image.shape)
    return np.clip((image + amplitude * texture) * shading + noise, 0, 1).astype(np.float32)


def _extent(shape: tuple[int, ...]) -> float:
    """Length in pixels that sizes are shares of; greater for volumes, where a slice seldom meets a blob's middle."""
    return float(np.prod(shape)) ** (1 / len(shape)) * (1.4 if len(shape) == 3 else 1.0)


def _smooth_noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> FloatArray:
    """Noise of mean 0 and deviation 1, smoothed by a Gaussian of ``scale`` pixels; periodic at the borders."""
    spectrum = ndimage.fourier_gaussian(np.fft.rfftn(rng.normal(size=shape)), scale, n=shape[-1])
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    noise -= noise.mean()
    return noise / max(noise.std(), 1e-12)


def _kind(index: int) -> str:
    """Kind of the case of that number."""
    if index % _EMPTY[0] == _EMPTY[1]:
        return "empty"
    return "small" if index % _SMALL[0] == _SMALL[1] else "normal"


def _affine(shape: tuple[int, ...], index: int, rng: np.random.Generator) -> FloatArray:
    """Voxel-to-world matrix [4, 4] in mm, centred on the volume: RAS, LPI and oblique in turn."""
    spacing = rng.uniform((0.7, 0.7, 1.5), (1.2, 1.2, 2.5))
    rotation = np.eye(3)
    if index % 3 == 1:
        rotation = np.diag([-1.0, -1.0, -1.0])
    elif index % 3 == 2:
        rotation = Rotation.from_euler("xyz", rng.uniform(5, 20, 3), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def _save_picture(image: NDArray[np.float32], label: NDArray[np.uint8], root: Path, name: str) -> None:
    """Write an image [C, H, W] in [0, 1] and its label [H, W] as 8-bit PNG files."""
    pixels = np.round(255 * image).astype(np.uint8)
    write_image(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1), root / "images" / name)
    write_image(label, root / "labels" / name)


def _save_volume(
    image: NDArray[np.float32], label: NDArray[np.uint8], affine: FloatArray, root: Path, name: str
) -> None:
    """Write an image [1, X, Y, Z] in [0, 1], as int16 up to 1000, and its label [X, Y, Z] as NIfTI files."""
    write_image(np.round(1000 * image[0]).astype(np.int16), root / "images" / name, affine)
    write_image(label, root / "labels" / name, affine)
