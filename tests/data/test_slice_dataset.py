from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, RandFlipd, RandGaussianNoised
from PIL import Image
from torch.utils.data import DataLoader

from leaf_seg.data import SliceDataset, SliceSampler, load_datalist, make_phantoms
from leaf_seg.data.slicing import resize_image, resize_label
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import BatchAffine, BatchAugmentation, BatchMirror, BatchNoise
from leaf_seg.transforms.batch_augmentation import BatchTransform, SliceBatch
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.mirror import RandMirror
from leaf_seg.transforms.scale_image import ScaleImage

Cases = list[dict[str, str]]
AXES = ("sagittal", "coronal", "axial")
PREPROCESSING = Compose(
    [
        LoadCase(),
        CheckPair(num_classes=3),
        ScaleImage("image", window=None),
        Orientationd(("image", "label"), axcodes="RAS", labels=None),
    ]
)
HALF = 2.0**-11  # rounding of float16 below 1


def all_cases(root: Path) -> Cases:
    datalist = load_datalist(str(root))
    return sorted((*datalist.training, *datalist.validation, *datalist.testing), key=lambda case: case["image"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Six grey pictures; number 5 is empty."""
    return all_cases(make_phantoms(tmp_path_factory.mktemp("pictures"), num_cases=6, size=(40, 33)))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Three volumes, RAS, LPI and oblique."""
    return all_cases(make_phantoms(tmp_path_factory.mktemp("volumes"), dimension=3, num_cases=3, size=(24, 20, 16)))


def make_dataset(cases: Cases, size: tuple[int, int] = (16, 24), **options: Any) -> SliceDataset:
    return SliceDataset(cases, PREPROCESSING, size, **options)


def ras_volume(case: dict[str, str], key: str) -> torch.Tensor:
    """Voxels [X, Y, Z] as nibabel orients them."""
    volume = nib.as_closest_canonical(nib.Nifti1Image.from_filename(case[key]))
    return torch.from_numpy(np.ascontiguousarray(volume.dataobj))


def test_pictures_are_one_slice_each(pictures: Cases) -> None:
    dataset = make_dataset(pictures)
    assert len(dataset) == 6
    assert dataset.index == [(number, 0) for number in range(6)]
    assert dataset.is_empty == [False] * 5 + [True]
    for number, case in enumerate(pictures):
        sample = dataset[number]
        image = torch.from_numpy(np.array(Image.open(case["image"]))) / 255
        expected = resize_image(image[None, None], (16, 24))[0].expand(3, -1, -1)
        assert sample["image"].dtype == torch.float32
        torch.testing.assert_close(sample["image"], expected, rtol=0, atol=HALF)
        label = torch.from_numpy(np.array(Image.open(case["label"])))
        assert sample["label"].dtype == torch.uint8
        assert torch.equal(sample["label"], resize_label(label[None, None], (16, 24))[0])


def test_colours_stay(tmp_path: Path) -> None:
    cases = all_cases(make_phantoms(tmp_path, num_cases=3, size=(20, 20), channels=3))
    image = np.array(Image.open(cases[0]["image"]))
    expected = torch.from_numpy(image).movedim(2, 0) / 255
    torch.testing.assert_close(make_dataset(cases, (20, 20))[0]["image"], expected, rtol=0, atol=HALF)


@pytest.mark.parametrize("axis", AXES)
def test_slices_of_volumes_in_ras(axis: str, volumes: Cases) -> None:
    dataset = make_dataset(volumes, axis=axis)
    dimension = AXES.index(axis)
    count = (24, 20, 16)[dimension]
    assert dataset.index == [(number, index) for number in range(3) for index in range(count)]
    for number, case in enumerate(volumes):
        voxels = ras_volume(case, "image").float()
        low, high = np.percentile(voxels, [0.5, 99.5])
        image = ((voxels - low) / (high - low)).clamp(0, 1).movedim(dimension, 0)
        label = ras_volume(case, "label").movedim(dimension, 0)
        for index in (0, count // 2, count - 1):
            sample = dataset[number * count + index]
            expected = resize_image(image[None, None, index], (16, 24))[0].expand(3, -1, -1)
            torch.testing.assert_close(sample["image"], expected, rtol=0, atol=2 * HALF)
            assert torch.equal(sample["label"], resize_label(label[None, None, index], (16, 24))[0])
        empty = [not (label[index] > 0).any() for index in range(count)]
        assert dataset.is_empty[number * count : (number + 1) * count] == empty
    assert 0 < sum(dataset.is_empty) < len(dataset)


def test_neighbours_are_channels_within_a_volume(volumes: Cases) -> None:
    alone, dataset = make_dataset(volumes), make_dataset(volumes, num_slices=3)
    assert len(dataset) == len(alone) == 3 * 16
    grey = [sample["image"][0] for sample in (alone[item] for item in range(len(alone)))]
    for item, (number, index) in enumerate(dataset.index):
        first, last = 16 * number, 16 * number + 15
        sample = dataset[item]["image"]
        assert torch.equal(sample[0], grey[max(item - 1, first)]), (number, index)
        assert torch.equal(sample[1], grey[item])
        assert torch.equal(sample[2], grey[min(item + 1, last)])
    assert not torch.equal(grey[3], grey[4])


def test_augmentation_sees_a_sample_and_does_not_reach_the_disk(pictures: Cases) -> None:
    flip = RandFlipd(("image", "label"), prob=1.0, spatial_axis=1)
    plain, flipped = make_dataset(pictures), make_dataset(pictures, augmentation=flip)
    for key in ("image", "label"):
        assert torch.equal(torch.as_tensor(flipped[0][key]), plain[0][key].flip(2))
        assert torch.equal(torch.as_tensor(flipped[0][key]), plain[0][key].flip(2))  # and once more the same


def test_a_sample_may_be_changed_in_place(pictures: Cases) -> None:
    dataset = make_dataset(pictures)
    before = dataset[0]
    image = before["image"].clone()
    for value in before.values():
        value.zero_()
    assert torch.equal(dataset[0]["image"], image)
    assert dataset[0]["label"].any()


def test_folder_is_removed_with_the_dataset(pictures: Cases, tmp_path: Path) -> None:
    dataset = make_dataset(pictures, cache_dir=str(tmp_path / "cache"))
    (folder,) = (tmp_path / "cache").iterdir()
    files = [file.name for file in folder.glob("*.npy")]
    assert len(files) == 12
    # float16 and uint8 at the network's size: 3 bytes a pixel and the headers
    assert sum(file.stat().st_size for file in folder.iterdir()) == 6 * (3 * 16 * 24 + 2 * 128)
    del dataset
    gc.collect()
    assert not list((tmp_path / "cache").iterdir())


def test_folder_is_removed_when_a_case_is_unfit(pictures: Cases, tmp_path: Path) -> None:
    unfit = [*pictures[:2], {"image": pictures[0]["image"], "label": str(tmp_path / "missing.png")}]
    with pytest.raises(RuntimeError) as error:  # MONAI's, around ours
        make_dataset(unfit, cache_dir=str(tmp_path / "cache"))
    assert isinstance(error.value.__cause__, InputError)
    assert "missing.png" in str(error.value.__cause__)
    del error
    gc.collect()
    assert not list((tmp_path / "cache").iterdir())


def test_a_pickled_copy_reads_the_same_folder_and_leaves_it(pictures: Cases, tmp_path: Path) -> None:
    """What a worker process that is spawned gets."""
    dataset = make_dataset(pictures, cache_dir=str(tmp_path))
    duplicate = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(duplicate[2]["image"], dataset[2]["image"])
    del duplicate
    gc.collect()
    assert dataset[2]["image"].any()


@pytest.mark.parametrize("num_slices", [1, 3])
def test_two_workers_read_the_same(num_slices: int, volumes: Cases) -> None:
    dataset = make_dataset(volumes, num_slices=num_slices)
    loader: DataLoader = DataLoader(dataset, batch_size=5, num_workers=2)
    for _ in range(2):  # the workers of the first epoch are gone by the second; the folder is not
        batches = list(loader)
        for key in ("image", "label"):
            together = torch.cat([batch[key] for batch in batches])
            assert torch.equal(together, torch.stack([dataset[item][key] for item in range(len(dataset))]))


def test_no_cases() -> None:
    with pytest.raises(InputError, match="no cases"):
        make_dataset([])


def test_colour_has_no_neighbours(tmp_path: Path) -> None:
    cases = all_cases(make_phantoms(tmp_path, num_cases=3, size=(20, 20), channels=3))
    plain, with_neighbours = make_dataset(cases), make_dataset(cases, num_slices=3)
    assert torch.equal(plain[0]["image"], with_neighbours[0]["image"])


def test_folder_that_cannot_be_written_to(pictures: Cases, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        make_dataset(pictures, cache_dir=str(tmp_path / "file" / "cache"))


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_every_filled_slice_and_a_share_of_the_empty_ones(rate: float, share: float, volumes: Cases) -> None:
    dataset = make_dataset(volumes)
    empty = {item for item, is_empty in enumerate(dataset.is_empty) if is_empty}
    sampler = SliceSampler(dataset, empty_rate=rate)
    drawn = [item for item, _ in sampler]
    assert len(drawn) == len(set(drawn)) == len(sampler)
    assert set(range(len(dataset))) - empty <= set(drawn)
    assert len(empty & set(drawn)) == round(share * len(empty))
    assert len(empty) >= 4


def test_order_and_empty_slices_change_each_epoch_and_follow_the_seed(volumes: Cases) -> None:
    dataset = make_dataset(volumes)
    first, again, other = (SliceSampler(dataset, 0.5, seed) for seed in (1, 1, 2))
    epochs = [list(first) for _ in range(3)]
    orders = [tuple(item for item, _ in epoch) for epoch in epochs]
    assert list(orders[0]) != sorted(orders[0])
    assert len(set(orders)) == 3
    assert len({frozenset(order) for order in orders}) > 1
    assert [list(again) for _ in range(3)] == epochs
    others = [list(other) for _ in range(3)]
    assert all(epoch not in epochs for epoch in others)  # the second epoch of seed 1 is not the first of seed 2


def test_every_slice_has_an_augmentation_seed_of_its_own(volumes: Cases) -> None:
    sampler = SliceSampler(make_dataset(volumes))
    seeds = [seed for _ in range(2) for _, seed in sampler]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_pass_from_the_middle_of_an_epoch(volumes: Cases) -> None:
    dataset = make_dataset(volumes)
    whole, rest = SliceSampler(dataset, 0.5), SliceSampler(dataset, 0.5)
    epochs = [list(whole) for _ in range(4)]
    rest.start_at(epoch=2, position=5)
    assert list(rest) == epochs[2][5:]
    assert list(rest) == epochs[3]


def _augmented(dataset: SliceDataset, num_workers: int) -> list[torch.Tensor]:
    loader: DataLoader = DataLoader(dataset, batch_size=4, sampler=SliceSampler(dataset), num_workers=num_workers)
    return [torch.cat([batch["image"] for batch in loader]) for _ in range(2)]


def test_augmentation_does_not_depend_on_the_workers(volumes: Cases) -> None:
    augmentation = Compose([RandFlipd(["image", "label"], prob=0.5), RandGaussianNoised("image", prob=0.5, std=0.1)])
    dataset = make_dataset(volumes, augmentation=augmentation)
    alone = _augmented(dataset, 0)
    assert not torch.equal(alone[0], alone[1])
    for num_workers in (1, 2):
        for mine, theirs in zip(alone, _augmented(dataset, num_workers), strict=True):
            assert torch.equal(mine, theirs)


def test_a_batch_is_augmented_as_its_items_are(volumes: Cases) -> None:
    """Whatever the batches and the workers are."""
    augmentation = BatchAugmentation([BatchMirror([0.5, 0.5]), BatchAffine(0.7, 0.3, 0.1, 2), BatchNoise(1.0, 0.1)])
    dataset = make_dataset(volumes, augmentation=augmentation)
    pairs = list(SliceSampler(dataset))
    expected = [dataset[pair] for pair in pairs]
    others = [dataset[item, 0] for item, _ in pairs]
    assert not any(torch.equal(a["image"], b["image"]) for a, b in zip(expected[:4], others[:4], strict=True))
    for batch_size, num_workers in ((4, 0), (5, 2)):
        loader: DataLoader = DataLoader(dataset, batch_size, sampler=SliceSampler(dataset), num_workers=num_workers)
        batches = list(loader)
        for key in ("image", "label"):
            found = torch.cat([batch[key] for batch in batches])
            assert torch.equal(found, torch.stack([sample[key] for sample in expected]))
    assert expected[0]["label"].dtype == torch.uint8
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])  # without a seed it goes on drawing


def test_a_batch_knows_across_which_axis_its_slices_lie(volumes: Cases, pictures: Cases) -> None:
    told: list[int] = []

    class Note(BatchTransform):
        def apply(self, batch: SliceBatch, *_: Any) -> None:
            told.extend(batch.slice_axes)

    dataset = make_dataset(
        [volumes[0], pictures[0]], axis=["axial", "sagittal"], augmentation=BatchAugmentation([Note(1)])
    )
    told.clear()
    dataset.__getitems__(list(range(len(dataset))))
    assert told == [2] * 16 + [0] * (len(dataset) - 17) + [-1]


def test_augmentation_without_a_seed_goes_on_drawing(volumes: Cases) -> None:
    dataset = make_dataset(volumes, augmentation=Compose([RandGaussianNoised("image", prob=1.0, std=0.1)]))
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])
    assert torch.equal(dataset[0, 7]["image"], dataset[0, 7]["image"])
    assert not torch.equal(dataset[0, 7]["image"], dataset[0, 8]["image"])


def test_order_leaves_the_global_generator_alone(volumes: Cases) -> None:
    sampler = SliceSampler(make_dataset(volumes))
    state = torch.random.get_rng_state()
    list(sampler)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rate_out_of_range(rate: float, pictures: Cases) -> None:
    with pytest.raises(InputError, match="expected a share between 0 and 1"):
        SliceSampler(make_dataset(pictures), empty_rate=rate)


def test_volumes_along_several_directions(volumes: Cases) -> None:
    axes = ["axial", "sagittal"]
    told: list[int] = []

    def note(sample: dict[str, Any]) -> dict[str, Any]:
        told.append(sample["slice_axis"])
        return sample

    several = make_dataset(volumes, axis=axes, num_slices=3, augmentation=note)
    alone = {axis: make_dataset(volumes, axis=axis, num_slices=3) for axis in axes}
    assert len(several) == sum(len(dataset) for dataset in alone.values())
    assert sum(several.is_empty) == sum(sum(dataset.is_empty) for dataset in alone.values())
    seen = {axis: 0 for axis in axes}
    for item in range(len(several)):
        sample = several[item]
        assert set(sample) == {"image", "label"}
        axis = AXES[told[-1]]
        expected = alone[axis][seen[axis]]
        assert torch.equal(sample["image"], expected["image"])
        assert torch.equal(sample["label"], expected["label"])
        seen[axis] += 1
    assert seen == {axis: len(dataset) for axis, dataset in alone.items()}


def test_pictures_have_one_direction(pictures: Cases) -> None:
    dataset = make_dataset(pictures, axis=AXES, augmentation=lambda sample: sample | {"seen": set(sample)})
    assert len(dataset) == 6
    assert dataset[0]["seen"] == {"image", "label"}


def test_pictures_and_volumes_in_one_batch(pictures: Cases, volumes: Cases) -> None:
    dataset = make_dataset([volumes[0], pictures[0]], augmentation=RandFlipd(("image", "label"), prob=0.5))
    (batch,) = DataLoader(dataset, batch_size=len(dataset))
    assert batch["image"].shape == (17, 3, 16, 24)


def test_augmentation_that_does_not_fit_is_an_error_at_once(pictures: Cases) -> None:
    """Not in a worker, where its cause is lost in a traceback."""
    with pytest.raises(RuntimeError) as error:  # MONAI's, around ours
        make_dataset(pictures, augmentation=Compose([RandMirror("image", [0.5, 0, 0])]))
    assert isinstance(error.value.__cause__, InputError)


def test_labels_without_any_structure_are_refused(pictures: Cases) -> None:
    with pytest.raises(InputError, match="None of 1 training labels has any structure, all hold 0 alone"):
        SliceDataset(pictures[5:], PREPROCESSING, (16, 16))


def test_classes_that_no_case_has_are_told(pictures: Cases, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "leaf_seg")
    SliceDataset(pictures, PREPROCESSING, (16, 16), class_names=["background", "a", "b"])
    assert "1 of 6 training labels are empty." in caplog.text
    assert "case has class" not in caplog.text
    SliceDataset(pictures, PREPROCESSING, (16, 16), class_names=["background", "a", "b", "nerve"])
    assert "No training case has class 3 (nerve): nothing is learnt or measured of it." in caplog.text
