from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Affine, Compose

from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import (
    BatchAffine,
    BatchAugmentation,
    BatchGamma,
    BatchIntensity,
    BatchMirror,
    BatchNoise,
    RandMirror,
)
from leaf_seg.transforms.batch_augmentation import BatchTransform, SliceBatch, draw
from leaf_seg.transforms.batch_transforms import affine_map

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"


def shipped() -> BatchAugmentation:
    """The augmentation of train.json."""
    config = json.loads((CONFIGS / "train.json").read_text())
    settings = {key: config[key] for key in ("flip_probability", "num_slices")} | {"suggested": {}}
    return ConfigParser(settings | {"augmentation": config["train"]["augmentation"]}).get_parsed_content("augmentation")


def make_batch(number: int = 12, size: tuple[int, int] = (14, 18)) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that show their label maps, smooth enough to be resampled."""
    generator = torch.Generator().manual_seed(3)
    rough = torch.rand(number, 1, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, size, mode="bicubic").clamp(0, 1)
    return smooth.repeat(1, 3, 1, 1), (smooth > 0.5).byte()


def augmented(
    augmentation: BatchAugmentation, items: Sequence[int], seeds: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    image, label = make_batch()
    chosen = list(items)
    return augmentation.augment_batch(
        image[chosen], label[chosen], [seeds[item] for item in chosen], [-1] * len(chosen)
    )


def apply(transform: BatchTransform, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return BatchAugmentation([transform]).augment_batch(
        image.clone(), label.clone(), list(range(len(image))), [-1] * len(image)
    )


def test_an_item_is_the_same_alone_and_in_any_batch() -> None:
    seeds = list(range(100, 112))
    together = augmented(shipped(), range(12), seeds)
    reverse = augmented(shipped(), range(11, -1, -1), seeds)
    image, _ = make_batch()
    assert sum(not torch.equal(a, b) for a, b in zip(together[0], image, strict=True)) > 8
    for item in range(12):
        for mine, turned, alone in zip(together, reverse, augmented(shipped(), [item], seeds), strict=True):
            assert torch.equal(mine[item], alone[0])
            assert torch.equal(mine[item], turned[11 - item])


def test_another_seed_is_another_change() -> None:
    first, again, other = (augmented(shipped(), range(12), range(start, start + 12)) for start in (0, 0, 50))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_labels_move_with_their_images() -> None:
    image, label = make_batch()
    moved = BatchAugmentation([BatchMirror([0.5, 0.5]), BatchAffine(1.0, 0.26, 0.15, 4)])
    image, label = moved.augment_batch(image, label, list(range(12)), [-1] * 12)
    sure = ((image[:, :1] - 0.5).abs() > 0.1) & (image[:, :1] > 0)  # where nearest and bilinear have to agree
    assert sure.float().mean() > 0.5
    assert ((image[:, :1] > 0.5) == label.bool())[sure].float().mean() > 0.98
    assert label.dtype == torch.uint8
    assert label.shape == (12, 1, 14, 18)


@pytest.mark.parametrize("size", [(14, 14), (14, 18)])
def test_the_map_is_that_of_monai(size: tuple[int, int]) -> None:
    angle, scale, shift = 0.2, [1.1, 0.9], [1.5, -2.0]
    image, label = make_batch(2, size)

    class Fixed(BatchAffine):
        def _map(self, generator: torch.Generator, size: tuple[int, int]) -> list[list[float]]:
            return affine_map(angle, scale, shift, size)

    found = apply(Fixed(1.0), image, label)
    for mode, before, after in (("bilinear", image, found[0]), ("nearest", label.float(), found[1].float())):
        monai = Affine(
            rotate_params=angle,
            scale_params=scale,
            translate_params=shift,
            padding_mode="border",
            mode=mode,
            image_only=True,
        )
        for item in range(2):
            expected = torch.as_tensor(monai(before[item]))
            assert (expected - before[item]).abs().max() > 0.2
            differs = ((after[item] - expected).abs() > 1e-4).float().mean()
            assert differs < 0.01  # nearest of two equally near


def test_angles_scales_and_shifts_have_their_ranges() -> None:
    transform = BatchAffine(1.0, rotation=0.3, scaling=0.2, translation=3)
    maps = torch.tensor([transform._map(torch.Generator().manual_seed(seed), (10, 10)) for seed in range(2000)])
    angle = torch.atan2(maps[:, 0, 1], maps[:, 1, 1])
    scales = torch.stack([maps[:, 1, 1] / angle.cos(), maps[:, 0, 1].hypot(maps[:, 1, 1])])
    shift = maps[:, :, 2].norm(dim=1) * 5
    assert 0.29 < angle.abs().max() <= 0.3001
    assert abs(angle.mean()) < 0.02
    assert scales[1].min() == pytest.approx(0.8, abs=0.01)
    assert scales[1].max() == pytest.approx(1.2, abs=0.01)
    assert (shift**2).mean() == pytest.approx(2 * 3**2 / 3, rel=0.1)  # of two numbers, uniform in -3 to 3


def test_gamma_intensity_and_noise_change_images_as_monai_does() -> None:
    image, label = make_batch(400, (6, 6))
    changed, kept = apply(BatchGamma(1.0, [0.7, 1.4]), image, label)
    assert torch.equal(kept, label)
    assert torch.allclose(changed.amin((1, 2, 3)), image.amin((1, 2, 3)), atol=1e-6)
    assert torch.allclose(changed.amax((1, 2, 3)), image.amax((1, 2, 3)), atol=1e-5)
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    inside = ((image - low) / (high - low)).clamp(0.05, 0.95)
    power = (((changed - low) / (high - low)).clamp(1e-6).log() / inside.log())[
        (image > low + 0.1) & (image < high - 0.1)
    ]
    assert 0.65 < power.quantile(0.01) < 0.72
    assert 1.35 < power.quantile(0.99) < 1.45

    factor = (apply(BatchIntensity(1.0, 0.15), image, label)[0] / image).nanmean((1, 2, 3))
    assert factor.min() == pytest.approx(0.85, abs=0.01)
    assert factor.max() == pytest.approx(1.15, abs=0.01)

    noise = apply(BatchNoise(1.0, 0.04), image, label)[0] - image
    assert noise.std() == pytest.approx(0.04 / 3**0.5, rel=0.1)  # of a deviation uniform in 0 to 0.04
    assert noise.std((1, 2, 3)).max() < 0.06
    assert abs(noise.mean()) < 0.001


@pytest.mark.parametrize("transform", [BatchGamma(0.3, [0.7, 1.4]), BatchAffine(0.3, 0.2), BatchNoise(0.3, 0.1)])
def test_an_item_is_changed_with_the_probability_or_not_at_all(transform: BatchTransform) -> None:
    image, label = make_batch(600, (6, 6))
    changed = (apply(transform, image, label)[0] != image).flatten(1).any(dim=1).float().mean()
    assert changed == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_mirrors_as_the_transform_of_one_slice(across: int) -> None:
    """Of volumes, with neighbouring slices as channels."""
    image, label = torch.rand(1, 3, 4, 5), torch.randint(0, 3, (1, 1, 4, 5))
    for axis in range(3):
        probability = [float(i == axis) for i in range(3)]
        sample: dict[str, Any] = {"image": image[0], "label": label[0], "slice_axis": across}
        expected = RandMirror(["image", "label"], probability, num_slices=3)(sample)
        found = BatchAugmentation([BatchMirror(probability, num_slices=3)]).augment_batch(
            image.clone(), label.clone(), [5], [across]
        )
        assert torch.equal(found[0][0], expected["image"])
        assert torch.equal(found[1][0], expected["label"])
        assert not torch.equal(found[0][0], image[0])


def test_a_slice_is_mirrored_along_each_axis_with_its_probability() -> None:
    image, label = torch.arange(4.0).reshape(1, 1, 2, 2).repeat(600, 1, 1, 1), torch.zeros(600, 1, 2, 2)
    found = apply(BatchMirror([0.25, 0.75]), image, label)[0][:, 0, 0, 0]
    assert (found >= 2).float().mean() == pytest.approx(0.25, abs=0.06)
    assert (found % 2).mean() == pytest.approx(0.75, abs=0.06)


def test_three_probabilities_are_of_volumes() -> None:
    with pytest.raises(InputError, match="flip_probability has three numbers"):
        apply(BatchMirror([0.5, 0, 0]), *make_batch())
    with pytest.raises(InputError, match="expected two probabilities"):
        BatchMirror([0.5])


def test_transforms_of_single_items_are_refused() -> None:
    with pytest.raises(InputError, match=r"has the transform Compose.*into a Compose"):
        BatchAugmentation([Compose([])])  # type: ignore[list-item]


@pytest.mark.parametrize(("kind", "arguments"), [(BatchNoise, (1.5, 0.1)), (BatchGamma, (0.5, [0, 1]))])
def test_numbers_that_cannot_be_meant(kind: Any, arguments: tuple) -> None:
    with pytest.raises(InputError, match=kind.__name__):
        kind(*arguments)


def test_numbers_are_drawn_from_the_range() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.tensor([draw(generator, -1, 3) for _ in range(1000)])
    assert numbers.min() >= -1
    assert numbers.max() < 3
    assert numbers.mean() == pytest.approx(1, abs=0.15)
    assert SliceBatch(numbers, numbers, []).slice_axes == []
