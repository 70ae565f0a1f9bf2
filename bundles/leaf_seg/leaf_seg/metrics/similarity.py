"""How alike two segmentations of one image look: error, SSIM and MS-SSIM of their masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.metrics import compute_ms_ssim, compute_ssim_and_cs

from leaf_seg.metrics.summary import mean_defined

_WINDOW = 11  # pixels, with a Gaussian of 1.5 (Wang et al., 2004)
_SIDE_OF_SCALES = 16 * _WINDOW  # from which five scales are defined
_PART = 16  # pictures that are compared at a time
_SIMILARITIES = ("mse", "ssim", "ms_ssim")
SIMILARITY_CONVENTION = (
    "masks of 0 and 1 at native size with each further noise seed against those with the first, as SDSeg compares its "
    "maps; of volumes slice by slice along the last axis; means over cases and seeds. psnr: of the mean squared error "
    "over all of them, in dB; undefined where all masks are the same. ssim, ms_ssim: window of 11 pixels; undefined "
    f"for sides below {_WINDOW} and {_SIDE_OF_SCALES} pixels"
)


def mask_similarity(pred: torch.Tensor, reference: torch.Tensor, num_classes: int) -> dict[str, list[float]]:
    """Compare two label maps of one image, class by class.

    Args:
        pred: class indices [*spatial], 2D or 3D.
        reference: the same.
        num_classes: K, background included.

    Returns:
        "mse", "ssim" and "ms_ssim" of classes 1 to K - 1; nan where the image is too small.

    Raises:
        ValueError: When the shapes differ.
    """
    if pred.shape != reference.shape:
        raise ValueError(f"label maps {tuple(pred.shape)} and {tuple(reference.shape)} differ in shape.")
    rows = [_similarity(_slices(pred == k), _slices(reference == k)) for k in range(1, num_classes)]
    return {name: [row[name] for row in rows] for name in _SIMILARITIES}


def summarize_similarity(pairs: Sequence[Mapping[str, Sequence[float]]], class_names: Sequence[str]) -> dict[str, Any]:
    """PSNR, SSIM and MS-SSIM over all pairs of label maps, ready for JSON.

    Args:
        pairs: each as of :func:`mask_similarity`.
        class_names: K - 1 names.

    Returns:
        {"classes": {class: {"psnr", "ssim", "ms_ssim"}}, "mean_foreground": {...}, "statistic": what they are}, with
        None for what is undefined.
    """
    columns = {name: [[pair[name][k] for pair in pairs] for k in range(len(class_names))] for name in _SIMILARITIES}
    classes = {name: _means({key: columns[key][k] for key in _SIMILARITIES}) for k, name in enumerate(class_names)}
    together = {key: [value for of_class in columns[key] for value in of_class] for key in _SIMILARITIES}
    return {"classes": classes, "mean_foreground": _means(together), "statistic": SIMILARITY_CONVENTION}


def _slices(mask: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 1, H, W] of a mask [*spatial], those of a volume along its last axis."""
    return (mask[..., None] if mask.ndim == 2 else mask).movedim(2, 0)[:, None].float()


def _similarity(pred: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
    """Means over pictures [N, 1, H, W]."""
    side = min(pred.shape[2:])
    window: dict[str, Any] = {"spatial_dims": 2, "kernel_size": (_WINDOW,) * 2, "kernel_sigma": (1.5,) * 2}
    ssim, ms_ssim = torch.full((2, len(pred)), torch.nan)  # of each picture
    for start in range(0, len(pred), _PART):
        part = slice(start, start + _PART)
        if side >= _WINDOW:
            ssim[part] = compute_ssim_and_cs(pred[part], reference[part], **window)[0].flatten(1).mean(dim=1)
        if side >= _SIDE_OF_SCALES:
            ms_ssim[part] = compute_ms_ssim(pred[part], reference[part], **window).flatten()
    mse = float((pred - reference).square().mean())
    return {"mse": mse, "ssim": float(ssim.mean()), "ms_ssim": float(ms_ssim.mean())}


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    mse = mean_defined(values["mse"])
    means = {name: mean_defined(values[name]) for name in ("ssim", "ms_ssim")}
    return {
        "psnr": -10 * math.log10(mse) if mse > 0 else None,
        **{name: None if math.isnan(mean) else mean for name, mean in means.items()},
    }
