"""Data sets of generated images with known labels, for the demo, tests and the autoencoder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from leaf_seg.data.phantom_raters import majority, rater_labels
from leaf_seg.data.phantoms import FloatArray, phantom
from leaf_seg.image_io.writing import write_image
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder

logger = logging.getLogger(__name__)

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
    num_raters: int = 0,
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
        num_raters: writes the labels of so many raters who disagree, too, to ``labels_r1/`` and so on; ``labels/`` then
            has what most of them chose.

    Returns:
        ``output_dir``.

    Raises:
        InputError: For arguments out of range, and when the folder cannot be written to.
    """
    shape = _checked_shape(dimension, num_cases, size, channels, num_raters)
    root = Path(output_dir)
    raters = [f"labels_r{number + 1}" for number in range(num_raters)]
    for folder in ("images", "labels", *raters):
        ensure_writable_folder(root / folder)
    split: dict[str, list[str]] = {name: [] for name in ("training", "validation", "testing")}
    for index in range(num_cases):
        rng = np.random.default_rng((seed, index))
        image, label = _phantom_within(target_share, shape, num_classes, rng, channels, _kind(index))
        name = f"phantom_{index:04d}" + (".png" if dimension == 2 else ".nii.gz")
        affine = None if dimension == 2 else _affine(shape, index, rng)
        rated = rater_labels(label, num_raters, rng)
        _save_image(image, affine, root / "images" / name)
        write_image(majority(rated) if rated else label, root / "labels" / name, affine)
        for folder, of_rater in zip(raters, rated, strict=True):
            write_image(of_rater, root / folder / name, affine)
        split[_SPLITS[index % len(_SPLITS)]].append(name)
    (root / "split.json").write_text(json.dumps(split, indent=1) + "\n")
    logger.info("Wrote %d phantoms of size %s to %s.", num_cases, "x".join(map(str, shape)), root)
    return root


def _checked_shape(
    dimension: int, num_cases: int, size: Sequence[int] | None, channels: int, num_raters: int
) -> tuple[int, ...]:
    """Size of the phantoms, when the arguments fit together."""
    if dimension not in _DEFAULT_SIZES:
        raise InputError(f"dimension is {dimension!r}; expected 2 (pictures) or 3 (volumes).")
    shape = tuple(_DEFAULT_SIZES[dimension] if size is None else size)
    if len(shape) != dimension:
        raise InputError(f"size is {shape} for dimension {dimension}; expected {dimension} numbers.")
    if num_cases < 3:
        raise InputError(f"num_cases is {num_cases}; expected at least 3: one for training, validation and testing.")
    if num_raters < 0:
        raise InputError(f"num_raters is {num_raters}; expected 0 or more.")
    if dimension == 3 and channels != 1:
        raise InputError(f"channels is {channels}; expected 1 for volumes: RGB phantoms are pictures only.")
    return shape


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


def _save_image(image: NDArray[np.float32], affine: FloatArray | None, path: Path) -> None:
    """Write an image [C, *spatial] in [0, 1]: a volume as int16 up to 1000, a picture, without affine, with 8 bits."""
    if affine is not None:
        write_image(np.round(1000 * image[0]).astype(np.int16), path, affine)
        return
    pixels = np.round(255 * image).astype(np.uint8)
    write_image(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1), path)
