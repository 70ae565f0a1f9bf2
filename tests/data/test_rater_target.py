"""Slices that are trained on what several raters marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from leaf_seg.data import (
    CaseStore,
    ModelSettings,
    SliceDataset,
    SliceSampler,
    rater_target,
    training_slices,
    with_targets,
)
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import BatchAffine, BatchAugmentation, BatchMirror, preprocessing

NAMES = ("background", "a", "b")
NUM_RATERS = 3


def marked(number: int) -> np.ndarray:
    """What a rater marks, who puts both structures ``number`` pixels lower."""
    label = np.zeros((12, 10), np.uint8)
    label[2:6, 1:4], label[3:8, 6:9] = 1, 2
    return np.roll(label, number, axis=0)


def picture_case(folder: Path, name: str, num_raters: int = NUM_RATERS) -> dict[str, Any]:
    """A case whose label nobody marked so; without raters for 0 of them."""
    image = np.random.default_rng(len(name)).integers(0, 255, (12, 10), np.uint8)
    files = {f"{name}.png": image, f"{name}_label.png": marked(0).T.reshape(12, 10)}
    files |= {f"{name}_r{number}.png": marked(number) for number in range(num_raters)}
    for file, array in files.items():
        Image.fromarray(array).save(folder / file)
    case = {"image": str(folder / f"{name}.png"), "label": str(folder / f"{name}_label.png")}
    return case | ({"raters": [str(folder / f"{name}_r{n}.png") for n in range(num_raters)]} if num_raters else {})


def prepared(cases: list[dict[str, Any]], how: str | None = "drawn", **options: Any) -> SliceDataset:
    settings = ModelSettings(NAMES, options.pop("image_size", (12, 10)), spacing=options.pop("spacing", None))
    prepare = preprocessing(settings, "prepared", raters=how is not None)
    data = with_targets(cases, how)
    return training_slices(data, prepare, settings.image_size, rater_target=rater_target(how, 3), **options)


def test_one_rater_is_drawn_by_the_seed(tmp_path: Path) -> None:
    dataset = prepared([picture_case(tmp_path, "a")])
    drawn = [dataset[0, seed]["label"] for seed in range(90)]
    assert drawn[0].dtype == torch.uint8
    numbers = [next(n for n in range(NUM_RATERS) if torch.equal(d[0], torch.from_numpy(marked(n)))) for d in drawn]
    assert all(20 <= numbers.count(number) <= 40 for number in range(NUM_RATERS))
    assert all(torch.equal(dataset[0, seed]["label"], label) for seed, label in reversed(list(enumerate(drawn))))


def test_without_a_seed_each_rater_comes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dataset = prepared([picture_case(tmp_path, "a")])
    assert len({dataset[0]["label"].numpy().tobytes() for _ in range(30)}) == NUM_RATERS


def test_batches_and_workers_draw_the_same(tmp_path: Path) -> None:
    """Of cases with different numbers of raters, and of one without any, which keeps its label."""
    cases = [picture_case(tmp_path, name, number) for name, number in (("a", 3), ("bb", 2), ("ccc", 0))]
    augmentation = BatchAugmentation([BatchMirror([0.5, 0.5]), BatchAffine(0.7, 0.3, 0.1, 2)])
    dataset = prepared(cases, augmentation=augmentation)
    items = list(SliceSampler(dataset, seed=3))
    alone = {item: dataset[item] for item in items}
    for workers in (0, 1):
        torch.manual_seed(workers)
        loader = DataLoader(dataset, 3, sampler=SliceSampler(dataset, seed=3), num_workers=workers)
        (batch,) = loader
        for number, item in enumerate(items):
            assert torch.equal(batch["label"][number], alone[item]["label"])
            assert torch.equal(batch["image"][number], alone[item]["image"])
    label = prepared(cases)[2, 5]["label"]
    assert torch.equal(label[0], torch.from_numpy(np.array(Image.open(cases[2]["label"]))))


def test_the_mean_is_the_share_of_raters_and_goes_through_augmentation(tmp_path: Path) -> None:
    cases = [picture_case(tmp_path, "a"), picture_case(tmp_path, "bb", 2)]
    dataset = prepared(cases, "mean")
    for item, count in ((0, 3), (1, 2)):
        shares = dataset[item, 4]["label"]
        expected = np.stack([np.mean([marked(n) == k for n in range(count)], axis=0) for k in range(3)])
        np.testing.assert_allclose(shares.numpy(), expected, atol=1e-6)
    moved = prepared(cases, "mean", augmentation=BatchAugmentation([BatchMirror([1, 0]), BatchAffine(1, 0.3)]))
    batch = moved.__getitems__([(0, 1), (1, 2)])
    sums = torch.stack([sample["label"] for sample in batch]).sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert 0.2 < batch[0]["label"][1].max() <= 1
    assert {round(float(value), 4) for value in batch[0]["label"].unique()} <= {0, 0.3333, 0.6667, 1}


def test_the_setting_off_is_the_label_alone(tmp_path: Path) -> None:
    case = picture_case(tmp_path, "a")
    Path(case["raters"][1]).unlink()  # nobody reads it
    label = prepared([case], None, store=CaseStore(tmp_path / "kept", 1))[0, 1]["label"]
    assert torch.equal(label[0], torch.from_numpy(np.array(Image.open(case["label"]))))


def test_volumes_are_turned_and_resampled_with_the_image(tmp_path: Path) -> None:
    volume = np.zeros((3, 8, 6, 5), np.uint8)
    for number in range(3):
        volume[number, 1 : 3 + number, 2:5, 1:3] = 1
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    arrays = {"image": np.arange(240, dtype=np.int16).reshape(8, 6, 5), "label": volume[0]}
    arrays |= {f"r{number}": array for number, array in enumerate(volume)}
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    case: dict[str, Any] = {key: str(tmp_path / f"{key}.nii.gz") for key in ("image", "label")}
    one = {**case, "raters": [str(tmp_path / f"r{number}.nii.gz") for number in range(3)]}
    options: dict[str, Any] = {"image_size": (8, 6), "spacing": (1, 1, 1)}
    shares = prepared([one], "mean", **options)
    for number in range(3):  # each rater is prepared as a label alone is
        alone = prepared([{**case, "label": one["raters"][number]}], None, **options)
        assert len(alone) == len(shares) > 5
        drawn = prepared([{**case, "raters": [one["raters"][number]] * 2}], **options)
        assert all(torch.equal(drawn[item, 9]["label"], alone[item]["label"]) for item in range(len(alone)))
    assert set(shares.is_empty) == {True, False}
    assert [not shares[item, 0]["label"][1:].any() for item in range(len(shares))] == shares.is_empty


def test_tiles_are_of_the_same_rater(tmp_path: Path) -> None:
    cases = [picture_case(tmp_path, "a")]
    drawn = prepared(cases, image_size=(8, 8), tile_overlap=0.0)
    assert len(drawn) == 4
    for item in range(4):
        singles = [{**cases[0], "label": path, "raters": []} for path in cases[0]["raters"]]
        tiles = [prepared([single], None, image_size=(8, 8), tile_overlap=0.0)[item, 6]["label"] for single in singles]
        assert any(torch.equal(drawn[item, 6]["label"], tile) for tile in tiles)


def test_a_slice_is_empty_only_when_no_rater_marked_any(tmp_path: Path) -> None:
    case = picture_case(tmp_path, "a")
    for path in (case["label"], *case["raters"][:2]):
        Image.fromarray(np.zeros((12, 10), np.uint8)).save(path)
    assert prepared([case]).is_empty == [False]


def test_kept_slices_are_of_the_raters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "leaf_seg")
    store, cases = CaseStore(tmp_path / "kept", 1), [picture_case(tmp_path, "a")]

    def found(how: str | None) -> bool:
        caplog.clear()
        prepared(cases, how, store=store)
        return "1 of 1 cases were prepared before" in caplog.text

    assert not found(None)
    assert not found("drawn")  # what was kept of the label alone
    first = [prepared(cases, store=store)[0, seed]["label"] for seed in range(9)]
    assert found("mean")  # of the same files
    assert found("drawn")
    assert all(torch.equal(prepared(cases)[0, seed]["label"], label) for seed, label in enumerate(first))
    Image.fromarray(marked(5)).save(cases[0]["raters"][2])
    assert not found("drawn")
    assert found(None)


def test_cases_without_raters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rated, plain = picture_case(tmp_path, "a"), picture_case(tmp_path, "bb", 0)
    assert with_targets([rated, plain], "drawn") == [rated, plain]
    assert "1 of 2 training cases have no raters and are trained on their label: the first is" in caplog.text
    assert plain["label"] in caplog.text
    with pytest.raises(InputError, match="rater_target is mean, and none of the 1 training cases has labels"):
        with_targets([plain], "mean")
    with pytest.raises(InputError, match="rater_target is 'most'; expected one of drawn, mean; or null"):
        rater_target("most", 3)
