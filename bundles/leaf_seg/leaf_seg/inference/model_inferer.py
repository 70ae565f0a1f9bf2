"""The inferer that a model's settings ask for."""

from __future__ import annotations

from functools import partial

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.inference.native_size_inferer import NativeSizeInferer
from leaf_seg.inference.tile_inferer import TileInferer
from leaf_seg.runtime.values import parse_bool


def inferer_for(
    settings: ModelSettings,
    batch_size: int = 16,
    num_samples: int = 1,
    uncertainty: bool | str = False,
    precision: str = "fp32",
    noise_seed: int | None = None,
    probabilities: bool | str = True,
    expected_dice: bool = False,
    resizes: bool = False,
    keep_hypotheses: bool = False,
) -> SegmentationInferer:
    """The inferer of a model; arguments as of :class:`SegmentationInferer`.

    Where images are resampled to the model's spacing there always are probabilities: which class is the most probable
    is known only when they have been resampled back.

    Args:
        resizes: whether the network takes images of any size and resizes them itself.

    Raises:
        InputError: When they do not fit.
    """
    kind = NativeSizeInferer if resizes else SegmentationInferer
    make = kind if settings.tile_overlap is None else partial(TileInferer, tile_overlap=settings.tile_overlap)
    return make(
        settings.image_size,
        axis=settings.axis,
        num_slices=settings.num_slices,
        batch_size=batch_size,
        num_samples=num_samples,
        uncertainty=parse_bool(uncertainty, "uncertainty"),
        precision=precision,
        mirror_axes=settings.mirror_axes,
        noise_seed=noise_seed,
        probabilities=parse_bool(probabilities, "probabilities") or settings.spacing is not None,
        expected_dice=expected_dice,
        keep_hypotheses=keep_hypotheses,
        temperature=settings.temperature,
    )
