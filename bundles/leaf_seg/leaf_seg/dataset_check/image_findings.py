"""What is found in the images: sizes, spacing, voxel order, intensities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.finding import Finding

_ASPECT = 1.5  # another shape of slice than the median one by this factor
_UNLIKE = 1.3  # spacings of one axis
_DARK = 0.25  # of what a file can hold


def image_findings(
    facts: Sequence[CaseFacts], axis: int, window: Sequence[float] | None = None, spacing: Sequence[float] | None = None
) -> list[Finding]:
    """Kinds, sizes, spacing, voxel order and intensities that training has to be told of, or cannot use.

    Args:
        facts: of the sound cases.
        axis: array axis that volumes are cut along.
        window: intensities that are mapped to 0 and 1, where set.
        spacing: that volumes are resampled to, where set.
    """
    found = [*_kinds(facts), *_aspects(facts, axis)]
    volumes = [fact for fact in facts if fact.is_volume]
    if volumes and spacing is None:
        found += _spacings(volumes)
    if volumes:
        found += _orders(volumes)
    return found + _intensities(facts, window)


def slice_shape(fact: CaseFacts, axis: int) -> tuple[int, int]:
    """(H, W) of the slices of a case."""
    sides = [side for place, side in enumerate(fact.shape) if not fact.is_volume or place != axis]
    return sides[0], sides[1]


def _kinds(facts: Sequence[CaseFacts]) -> list[Finding]:
    found = []
    volumes = sum(fact.is_volume for fact in facts)
    if 0 < volumes < len(facts):
        what = f"{volumes} volumes and {len(facts) - volumes} pictures."
        remedy = "They can be trained together; if that is not meant, make two data sets."
        found.append(Finding("warning", "volumes and pictures", what, remedy))
    grey = sum(fact.channels == 1 for fact in facts)
    if 0 < grey < len(facts):
        what = f"{grey} images are grey and {len(facts) - grey} are in colour."
        found.append(Finding("note", "grey and colour", what, "Grey values are repeated in all three channels."))
    return found


def _aspects(facts: Sequence[CaseFacts], axis: int) -> list[Finding]:
    ratios = np.array([height / width for height, width in (slice_shape(fact, axis) for fact in facts)])
    middle = float(np.median(ratios))
    unlike = [fact for fact, ratio in zip(facts, ratios, strict=True) if not 1 / _ASPECT <= ratio / middle <= _ASPECT]
    if not unlike:
        return []
    return [
        Finding(
            "note",
            "other shapes",
            f"Height by width of the slices is {middle:.2f} as a median; {len(unlike)} of {len(facts)} images differ "
            f"by more than {_ASPECT} times.",
            "All are resized to one image_size, which distorts these; pad or crop them where that matters.",
            tuple(fact.case["image"] for fact in unlike),
        )
    ]


def _spacings(volumes: Sequence[CaseFacts]) -> list[Finding]:
    sizes = np.array([fact.spacing for fact in volumes])
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    if not (high / np.maximum(low, 1e-9) > _UNLIKE).any():
        return []
    middle = np.median(sizes, axis=0).round(3).tolist()
    return [
        Finding(
            "warning",
            "spacing differs",
            f"Voxel sizes (right, front, up) go from {_millimetres(low)} to {_millimetres(high)} mm.",
            f'A structure has another size in pixels in each: resample with --spacing "{middle}", the median.',
        )
    ]


def _orders(volumes: Sequence[CaseFacts]) -> list[Finding]:
    orders = Counter(fact.orientation for fact in volumes)
    if len(orders) < 2:
        return []
    listed = ", ".join(f"{count} {order}" for order, count in orders.most_common())
    what = f"Volumes lie in different voxel orders: {listed}."
    return [Finding("note", "voxel orders", what, "Nothing: all are turned to RAS, and back in the results.")]


def _intensities(facts: Sequence[CaseFacts], window: Sequence[float] | None) -> list[Finding]:
    found = []
    flat = [fact for fact in facts if fact.limits[0] == fact.limits[3]]
    if flat:
        what = f"{len(flat)} images have one value only."
        files = tuple(fact.case["image"] for fact in flat)
        found.append(Finding("warning", "constant images", what, "Nothing can be seen in them: remove them.", files))
    dark = [] if window else [fact for fact in facts if is_dark(fact)]
    if dark:
        greatest = max(fact.limits[3] for fact in dark)
        found.append(
            Finding(
                "warning",
                "little of the range is used",
                f"{len(dark)} of {len(facts)} pictures use less than {_DARK:.0%} of what their files can hold; the "
                f"greatest value is {greatest:g} of {max(fact.maximum or 0 for fact in dark):g}.",
                "They are scaled by what a file can hold, and come out dark: give --window "
                f'"[0,{greatest_of_bits(greatest)}]".',
                tuple(fact.case["image"] for fact in dark),
            )
        )
    outside = [fact for fact in facts if window and (fact.limits[1] >= window[1] or fact.limits[2] <= window[0])]
    if outside and window:
        what = f"{len(outside)} images lie outside of the window {list(window)} altogether."
        files = tuple(fact.case["image"] for fact in outside)
        remedy = "Correct --window; it is in the file's units."
        found.append(Finding("error", "window misses images", what, remedy, files))
    return found


def is_dark(fact: CaseFacts) -> bool:
    """Whether a picture uses a small part of what its file can hold, as of 12 bits in 16."""
    low, _, _, high = fact.limits
    return fact.maximum is not None and low < high < _DARK * fact.maximum


def greatest_of_bits(value: float) -> int:
    """The greatest value of the number of bits that a value needs: 4095 for 3000."""
    return int(2 ** np.ceil(np.log2(max(value, 1) + 1)) - 1)


def _millimetres(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes.tolist())
