"""What identifies an image: its bytes, and how it looks from afar."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from leaf_seg.image_io.formats import files_of
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import printable

_SIDE = {2: 32, 3: 16}  # of a thumbnail, by the number of dimensions


def file_digest(path: PathLike) -> str:
    """SHA-256 of a file's content; of an image in several files, such as a DICOM series in a folder, of all of them.

    Raises:
        InputError: When it cannot be read.
    """
    source = Path(path)
    try:
        is_folder = source.is_dir()
        files = [file for file in sorted(source.rglob("*")) if file.is_file()] if is_folder else files_of(source)
        parts = [_digest(file) for file in files]
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); correct its permissions.") from error
    return parts[0] if len(parts) == 1 and not is_folder else hashlib.sha256("".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def thumbnail(image: torch.Tensor) -> np.ndarray:
    """A small copy of an image whose product with another one's is their correlation.

    Brightness and contrast do not count. 32 x 32 colour pixels of a picture, 16 x 16 x 16 grey voxels of a volume, as
    means over the areas that they stand for.

    Args:
        image: [C, H, W] with C = 1 or 3, or [C, X, Y, Z].

    Returns:
        float16 [3 * 32 * 32] or [16 ** 3], of mean 0 and length 1; 0 for a constant image.
    """
    values = torch.as_tensor(image).float()
    dimensions = values.ndim - 1
    small = F.adaptive_avg_pool2d(values, _SIDE[2]) if dimensions == 2 else F.adaptive_avg_pool3d(values, _SIDE[3])
    small = small.expand(3, -1, -1) if dimensions == 2 else small.mean(dim=0)
    vector = small.flatten() - small.mean()
    length = float(vector.norm())
    return (vector / length if length > 0 else vector).numpy().astype(np.float16)
