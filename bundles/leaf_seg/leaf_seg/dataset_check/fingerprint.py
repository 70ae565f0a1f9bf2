"""How an image looks from afar."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

_SIDE = {2: 32, 3: 16}  # of a thumbnail, by the number of dimensions


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
