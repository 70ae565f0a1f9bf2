from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import nn

from leaf_seg.inference import Answers, RoundTripInferer, SegmentationInferer
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, MaskCodec
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.reconstruction import MaskRoundTrip
from leaf_seg.runtime.errors import InputError

Make = Callable[..., LatentSegmenter]
AXES = ("sagittal", "coronal", "axial")
VOLUME = (5, 11, 9)


class Thresholds(nn.Module):
    """Class probabilities [N, 3, H, W] that say which channel was where; notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.inputs.append(image)
        return image / image.sum(dim=1, keepdim=True)


@torch.no_grad()
def segment(network: nn.Module, image: torch.Tensor, **options: Any) -> Any:
    return SegmentationInferer(options.pop("image_size", (16, 16)), **options)(image, network)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("num_slices", [1, 3])
@pytest.mark.parametrize("num_samples", [1, 2])
def test_volume_does_not_depend_on_the_batch_size(
    axis: str, num_slices: int, num_samples: int, make_segmenter: Make
) -> None:
    network = make_segmenter()
    volume = torch.rand(2, 1, *VOLUME)
    options: dict[str, Any] = {"axis": axis, "num_slices": num_slices, "num_samples": num_samples}
    one = segment(network, volume, batch_size=1, **options)
    assert one.shape == (2, 3, *VOLUME)
    torch.testing.assert_close(segment(network, volume, batch_size=16, **options), one, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(segment(network, volume, batch_size=4, **options), one, rtol=1e-5, atol=1e-5)
    assert one.std() > 1e-2


@pytest.mark.parametrize("size", [(16, 16), (13, 37), (70, 5), (1, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size(size: tuple[int, int], channels: int, make_segmenter: Make) -> None:
    network = make_segmenter()
    pictures = torch.rand(3, channels, *size)
    probabilities = segment(network, pictures, batch_size=16)
    assert probabilities.shape == (3, 3, *size)
    assert probabilities.dtype == torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3, *size))
    alone = torch.cat([segment(network, picture[None], batch_size=1) for picture in pictures])
    torch.testing.assert_close(probabilities, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_probabilities_of_volumes_sum_to_one(axis: str, make_segmenter: Make) -> None:
    probabilities = segment(make_segmenter(6), torch.rand(1, 1, *VOLUME), axis=axis)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, *VOLUME))


def test_picture_by_hand(make_segmenter: Make) -> None:
    network = make_segmenter()
    picture = torch.rand(1, 3, 40, 11)
    with torch.no_grad():
        small = network(F.interpolate(picture, (16, 16), mode="bilinear", antialias=True))
        expected = F.interpolate(small, (40, 11), mode="bilinear", antialias=True)
    torch.testing.assert_close(segment(network, picture), expected / expected.sum(dim=1, keepdim=True))


def test_native_size_is_not_resized(make_segmenter: Make) -> None:
    network = make_segmenter()
    picture = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(segment(network, picture), network(picture), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_slices_go_along_the_axis_and_back_in_place(axis: str) -> None:
    volume = torch.rand(1, 1, *VOLUME)
    dimension = AXES.index(axis)
    network = Thresholds()
    size = [side for index, side in enumerate(VOLUME) if index != dimension]
    result = segment(network, volume, axis=axis, num_slices=3, batch_size=4, image_size=size)
    given = torch.cat(network.inputs)  # [S, 3, H, W]
    count = VOLUME[dimension]
    assert [len(batch) for batch in network.inputs] == [min(4, count - start) for start in range(0, count, 4)]
    slices = volume[0, 0].movedim(dimension, 0)
    for index in range(count):
        assert torch.equal(given[index, 0], slices[max(index - 1, 0)])  # the ends stand in for themselves
        assert torch.equal(given[index, 1], slices[index])
        assert torch.equal(given[index, 2], slices[min(index + 1, count - 1)])
    expected = (given / given.sum(dim=1, keepdim=True)).movedim(0, dimension + 1)  # [3, X, Y, Z]
    torch.testing.assert_close(result[0], expected)


def test_one_slice_is_repeated() -> None:
    network = Thresholds()
    volume = torch.rand(1, 1, 16, 16, 3)
    segment(network, volume, batch_size=2)
    assert torch.equal(torch.cat(network.inputs), volume[0].movedim(3, 0).expand(-1, 3, -1, -1))


def test_neighbours_reach_over_the_batches(make_segmenter: Make) -> None:
    """A slice changes with its neighbour, also where that is in another batch, and with no other."""
    network = make_segmenter()
    volume = torch.rand(1, 1, 16, 16, 9)
    changed = volume.clone()
    changed[..., 4] = 0
    before, after = (segment(network, image, num_slices=3, batch_size=4) for image in (volume, changed))
    difference = (before - after).abs().amax(dim=(0, 1, 2, 3))
    assert (difference[3:6] > 1e-4).all()
    assert (difference[[0, 1, 2, 6, 7, 8]] < 1e-5).all()


@pytest.fixture
def hypotheses(make_segmenter: Make) -> Callable[[torch.Tensor, int], np.ndarray]:
    """Probabilities [num_samples, B, K, *spatial] of networks that differ in their noise seed alone."""

    def run(image: torch.Tensor, number: int) -> np.ndarray:
        return np.stack([segment(make_segmenter(noise_seed=5 + index), image).numpy() for index in range(number)])

    return run


@pytest.mark.parametrize("shape", [(2, 3, 21, 18), (1, 1, 17, 22, 3)])
def test_uncertainty_by_hand(
    shape: tuple[int, ...], make_segmenter: Make, hypotheses: Callable[[torch.Tensor, int], np.ndarray]
) -> None:
    image = torch.rand(shape)
    samples = hypotheses(image, 4).astype(np.float64)
    assert samples.std(axis=0).max() > 1e-2  # the hypotheses differ
    maps = segment(make_segmenter(noise_seed=5), image, num_samples=4, uncertainty=True, batch_size=2)
    assert isinstance(maps, Answers)
    assert maps.variance is not None
    assert maps.entropy is not None
    mean = samples.mean(axis=0)
    np.testing.assert_allclose(maps.pred, mean, atol=1e-5)
    np.testing.assert_allclose(maps.variance, samples.var(axis=0).sum(axis=1, keepdims=True), atol=1e-5)
    entropy = -(mean * np.log(mean, where=mean > 0, out=np.zeros_like(mean))).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(maps.entropy, entropy, atol=1e-4)
    assert maps.variance.shape == maps.entropy.shape == (shape[0], 1, *shape[2:])
    assert maps.entropy.max() <= np.log(3) + 1e-5


def test_mean_alone_without_uncertainty(
    make_segmenter: Make, hypotheses: Callable[[torch.Tensor, int], np.ndarray]
) -> None:
    image = torch.rand(2, 3, 21, 18)
    mean = segment(make_segmenter(noise_seed=5), image, num_samples=3)
    np.testing.assert_allclose(mean, hypotheses(image, 3).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 5])
def test_image_is_encoded_once_per_batch(num_samples: int, make_segmenter: Make) -> None:
    network = make_segmenter()
    encoded, denoised = [], []
    network.image_encoder.register_forward_hook(lambda module, inputs, _: encoded.append(len(inputs[0])))
    network.unet.register_forward_hook(lambda module, inputs, _: denoised.append(len(inputs[0])))
    segment(network, torch.rand(1, 1, 16, 16, 6), num_samples=num_samples, batch_size=4)
    assert encoded == [4, 2]
    assert max(denoised) <= 4  # the bound of the memory
    assert sum(denoised) == 6 * num_samples


def test_the_first_noise_seed_can_be_chosen(make_segmenter: Make) -> None:
    image = torch.rand(1, 3, 16, 16)
    for number in (1, 3):
        found = segment(make_segmenter(noise_seed=5), image, num_samples=number, noise_seed=9)
        expected = segment(make_segmenter(noise_seed=9), image, num_samples=number)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert (found - segment(make_segmenter(noise_seed=5), image, num_samples=number)).abs().max() > 1e-3


def test_entropy_of_certain_pixels_is_zero() -> None:
    class Certain(nn.Module):
        def noise_seeds(self, number: int) -> range:
            return range(number)

        def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int) -> torch.Tensor:
            """Left half: class 0 always; right half: class 0 or 1 in turn."""
            label = torch.zeros(len(seeds), len(image), *image.shape[2:], dtype=torch.int64)
            label[..., 8:] = torch.tensor(seeds).view(-1, 1, 1, 1)
            return F.one_hot(label, 2).movedim(-1, 2).float()

    maps = segment(Certain(), torch.rand(1, 3, 16, 16), num_samples=2, uncertainty=True)
    assert (maps.entropy[..., :8] == 0).all()
    assert (maps.variance[..., :8] == 0).all()
    torch.testing.assert_close(maps.entropy[..., 8:], torch.full((1, 1, 16, 8), np.log(2).item()))
    torch.testing.assert_close(maps.variance[..., 8:], torch.full((1, 1, 16, 8), 0.5))


def test_bf16_is_near_fp32_and_returns_fp32(make_segmenter: Make) -> None:
    network = make_segmenter()
    picture = torch.rand(1, 3, 20, 20)
    dtypes = []
    network.unet.conv_in.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    full, half = (segment(network, picture, precision=precision) for precision in ("fp32", "bf16"))
    assert dtypes == [torch.float32, torch.bfloat16]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)
    assert not torch.equal(half, full)
    torch.testing.assert_close(half.sum(dim=1), torch.ones(1, 20, 20))


def test_meta_tensors_stay_meta_tensors(make_segmenter: Make) -> None:
    """MONAI's Invertd leaves a plain tensor as it is, with no more than a warning."""
    picture = MetaTensor(torch.rand(1, 3, 20, 20), meta={"filename_or_obj": "a.png"})
    network = make_segmenter()
    result = segment(network, picture)
    assert isinstance(result, MetaTensor)
    assert result.meta["filename_or_obj"] == "a.png"
    assert type(segment(network, picture.as_tensor())) is torch.Tensor
    maps = segment(network, picture, num_samples=2, uncertainty=True)
    assert all(isinstance(array, MetaTensor) for array in (maps.pred, maps.variance, maps.entropy))


@pytest.mark.parametrize("num_samples", [1, 0])
def test_uncertainty_needs_hypotheses(num_samples: int) -> None:
    with pytest.raises(InputError, match="num_samples"):
        SegmentationInferer((16, 16), num_samples=num_samples, uncertainty=True)


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"batch_size": 0}, {"batch_size": -1}])
def test_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        SegmentationInferer((16, 16), **options)


def test_unfit_images(make_segmenter: Make) -> None:
    network = make_segmenter()
    with pytest.raises(InputError, match=r"2 channels; expected 1 .* or 3"):
        segment(network, torch.rand(1, 2, 16, 16))
    with pytest.raises(InputError, match="num_slices is 2; expected 1, or 3"):
        segment(network, torch.rand(1, 1, 16, 16), num_slices=2)
    with pytest.raises(InputError, match="axis is 'transversal'; expected one of sagittal, coronal, axial"):
        segment(network, torch.rand(1, 1, 16, 16, 2), axis="transversal")
    with pytest.raises(InputError, match="precision is 'double'"):
        segment(network, torch.rand(1, 3, 16, 16), precision="double")


def test_round_trip_of_volumes(make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder().eval()
    network = MaskRoundTrip(autoencoder, MaskCodec(3))
    label = torch.randint(0, 3, (1, 1, 16, 16, 5), dtype=torch.uint8)
    with torch.no_grad():
        result = RoundTripInferer((16, 16), batch_size=2)(label, network)
        assert isinstance(result, torch.Tensor)
        expected = network(label[0].movedim(3, 0)).movedim(0, 3)
    torch.testing.assert_close(result[0], expected, rtol=1e-5, atol=1e-5)


def test_round_trip_resizes_label_maps_without_mixing_classes() -> None:
    class Echo(nn.Module):
        def forward(self, label: torch.Tensor) -> torch.Tensor:
            assert set(label.unique().tolist()) <= {0, 2}
            return F.one_hot(label[:, 0].long(), 3).movedim(-1, 1).float()

    label = torch.zeros(1, 1, 30, 50, dtype=torch.uint8)
    label[..., 8:20, 10:41] = 2
    with torch.no_grad():
        result = RoundTripInferer((16, 16))(label, Echo())
    assert isinstance(result, torch.Tensor)
    assert result.shape == (1, 3, 30, 50)
    overlap = (result.argmax(dim=1) == 2) & (label[:, 0] == 2)
    assert 2 * overlap.sum() / ((result.argmax(dim=1) == 2).sum() + (label == 2).sum()) > 0.9


@pytest.mark.parametrize("options", [{"num_samples": 2}, {"num_samples": 3, "uncertainty": True}])
def test_hypotheses_of_a_network_that_draws_none(options: dict[str, Any]) -> None:
    network = BasicUNetSegmenter(3, (32, 32), features=(4, 4, 4, 4, 4, 4)).eval()
    picture = torch.rand(1, 3, 40, 36)
    assert segment(network, picture, image_size=(32, 32)).shape == (1, 3, 40, 36)
    with pytest.raises(InputError, match=r"This BasicUNetSegmenter draws no noise: .* Set num_samples"):
        segment(network, picture, image_size=(32, 32), **options)


def test_several_directions_are_averaged(make_segmenter: Make) -> None:
    network = make_segmenter()
    volume = torch.rand(1, 1, *VOLUME)
    alone = [segment(network, volume, axis=axis, num_slices=3) for axis in AXES]
    expected = torch.stack(alone).mean(dim=0)
    torch.testing.assert_close(segment(network, volume, axis=AXES, num_slices=3), expected)
    assert (alone[0] - alone[2]).abs().max() > 1e-3
    pair = segment(network, volume, axis=AXES[:2], num_slices=3, num_samples=2, uncertainty=True)
    variances = [
        segment(network, volume, axis=axis, num_slices=3, num_samples=2, uncertainty=True).variance for axis in AXES[:2]
    ]
    torch.testing.assert_close(pair.variance, torch.stack(variances).mean(dim=0))


@pytest.mark.parametrize(("shape", "mirror_axes"), [(VOLUME, [0]), (VOLUME, [1, 2]), ((12, 9), [1])])
def test_mirror_images_are_averaged(shape: tuple[int, ...], mirror_axes: list[int], make_segmenter: Make) -> None:
    network = make_segmenter()
    image = torch.rand(1, 1, *shape)
    answers = [segment(network, image)]
    answers += [segment(network, image.flip(2 + axis)).flip(2 + axis) for axis in mirror_axes]
    found = segment(network, image, mirror_axes=mirror_axes)
    torch.testing.assert_close(found, torch.stack(answers).mean(dim=0))
    assert (found - answers[0]).abs().max() > 1e-3


@pytest.mark.parametrize("mirror_axes", [[3], [-1], [0, 0], 0])
def test_unfit_mirror_axes(mirror_axes: Any) -> None:
    with pytest.raises(InputError, match="mirror_axes"):
        SegmentationInferer((16, 16), mirror_axes=mirror_axes)


def test_picture_has_no_third_axis(make_segmenter: Make) -> None:
    with pytest.raises(InputError, match="a picture has the axes 0 and 1"):
        segment(make_segmenter(), torch.rand(1, 1, 12, 9), mirror_axes=[2])


@pytest.mark.parametrize("axis", ["coronal", AXES[1:]])
@pytest.mark.parametrize("options", [{}, {"mirror_axes": (0, 2)}, {"num_samples": 2}, {"num_slices": 3}])
def test_labels_are_the_most_probable_classes(
    axis: str | tuple[str, ...], options: dict[str, Any], make_segmenter: Make
) -> None:
    network, volume = make_segmenter(), torch.rand(2, 1, *VOLUME)
    probabilities = segment(network, volume, axis=axis, batch_size=4, **options)
    labels = segment(network, volume, axis=axis, batch_size=4, probabilities=False, **options)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, probabilities.argmax(dim=1, keepdim=True).to(torch.uint8))
    assert len(labels.unique()) > 1


@pytest.mark.parametrize("axis", ["coronal", AXES[1:]])
@pytest.mark.parametrize("options", [{}, {"mirror_axes": (0, 2)}, {"num_samples": 2}])
def test_expected_dice_is_that_of_the_whole_answer(
    axis: str | tuple[str, ...], options: dict[str, Any], make_segmenter: Make
) -> None:
    network, volume = make_segmenter(), torch.rand(2, 1, *VOLUME)
    probabilities = segment(network, volume, axis=axis, **options)
    labels = probabilities.argmax(dim=1)
    expected = []  # [K - 1, B]
    for k in (1, 2):
        inside = labels == k
        sums = [(case[k] * where).sum() for case, where in zip(probabilities, inside, strict=True)]
        masses = probabilities[:, k].flatten(1).sum(dim=1)
        expected.append(2 * torch.stack(sums) / (inside.flatten(1).sum(dim=1) + masses))
    for probably in (True, False):  # with labels alone, too
        answers = segment(
            network, volume, axis=axis, batch_size=4, probabilities=probably, expected_dice=True, **options
        )
        assert isinstance(answers, Answers)
        torch.testing.assert_close(answers.expected_dice, torch.stack(expected, dim=1), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(answers.pred, probabilities if probably else labels[:, None].to(torch.uint8))
    assert answers.expected_dice.std() > 1e-3


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((13, 21), {}),
        ((13, 21), {"mirror_axes": (1,), "uncertainty": True}),
        (VOLUME, {"axis": "coronal", "uncertainty": True}),
        (VOLUME, {"axis": AXES[:2], "mirror_axes": (2,)}),
    ],
)
def test_kept_hypotheses_are_the_answers_to_single_seeds(
    shape: tuple[int, ...], options: dict[str, Any], make_segmenter: Make
) -> None:
    network, image = make_segmenter(), torch.rand(2, 1, *shape)
    plain = segment(network, image, num_samples=3, batch_size=4, **options)
    kept = segment(network, image, num_samples=3, batch_size=4, keep_hypotheses=True, **options)
    single = {name: value for name, value in options.items() if name != "uncertainty"}
    expected = torch.stack([segment(network, image, noise_seed=seed, **single) for seed in range(3)], dim=1)
    assert kept.hypotheses.shape == (2, 3, 3, *shape)
    torch.testing.assert_close(kept.hypotheses, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.pred, plain.pred if isinstance(plain, Answers) else plain)
    assert (kept.hypotheses[:, 0] - kept.hypotheses[:, 1]).abs().max() > 1e-3
    if "uncertainty" in options:
        torch.testing.assert_close(kept.variance, plain.variance)
        torch.testing.assert_close(kept.entropy, plain.entropy)


def test_a_single_answer_is_not_kept_twice(make_segmenter: Make) -> None:
    assert isinstance(segment(make_segmenter(), torch.rand(1, 1, 16, 16), keep_hypotheses=True), torch.Tensor)


@pytest.mark.slow
def test_mirror_images_are_put_back_where_they_belong(make_segmenter: Make) -> None:
    network, volume = make_segmenter(), torch.rand(1, 1, *VOLUME)
    for axis in AXES:
        for mirrored in range(3):
            options: dict[str, Any] = {"axis": axis, "batch_size": 5, "num_slices": 3}
            plain = segment(network, volume, **options)
            back = segment(network, volume.flip(2 + mirrored), **options).flip(2 + mirrored)
            found = segment(network, volume, mirror_axes=(mirrored,), **options)
            torch.testing.assert_close(found, (plain + back) / 2, rtol=0, atol=1e-6)


def test_labels_of_a_volume_take_the_memory_of_a_batch() -> None:
    """Six class maps of this volume alone would take 300 MB."""
    from tests.faults.limited import MB, run_limited

    volume = torch.zeros(1, 1, 256, 256, 200)
    inferer = SegmentationInferer((16, 16), probabilities=False)

    def run() -> int:
        with torch.no_grad():
            label = inferer(volume, lambda image: torch.rand(len(image), 6, 16, 16).softmax(dim=1))
        return 0 if isinstance(label, torch.Tensor) and label.shape == (1, 1, 256, 256, 200) else 1

    outcome = run_limited(run)
    assert outcome.code == 0, outcome.err
    assert outcome.peak < 150 * MB
