from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from leaf_seg.data import ModelSettings
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import postprocessing, preprocessing

NAMES = ["background", "a", "b"]


@pytest.fixture
def case(tmp_path: Path) -> dict[str, str]:
    """A volume and its label, stored from right to left and front to back, with voxels of 1 x 2 x 3 mm."""
    rng = np.random.default_rng(0)
    label = np.zeros((6, 8, 4), np.uint8)
    label[:2], label[4:, 6:] = 1, 2
    image = (100 * label + rng.integers(0, 40, label.shape)).astype(np.int16)
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    return {name: str(tmp_path / f"{name}.nii.gz") for name in ("image", "label")}


def stored(path: str) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def test_labels_to_train_on_go_with_the_image(case: dict[str, str]) -> None:
    prepared = preprocessing(ModelSettings(NAMES, (8, 8)), labels="prepared")(case)
    assert prepared["image"].shape == prepared["label"].shape == (1, 6, 8, 4)
    assert torch.equal(prepared["image"].affine, prepared["label"].affine)
    np.testing.assert_array_equal(prepared["label"][0], stored(case["label"])[::-1, ::-1])  # RAS
    assert prepared["image"].min() >= 0
    assert prepared["image"].max() <= 1


def test_labels_to_evaluate_against_stay_as_they_are(case: dict[str, str]) -> None:
    settings = ModelSettings(NAMES, (8, 8), spacing=(1, 1, 1))
    prepared = preprocessing(settings, labels="native")(case)
    np.testing.assert_array_equal(prepared["label"][0], stored(case["label"]))
    assert prepared["image"].shape == (1, 6, 15, 10)  # turned and resampled


def test_spacing_of_labels_is_by_nearest_neighbours(case: dict[str, str]) -> None:
    settings = ModelSettings(NAMES, (8, 8), spacing=(1, 1, 1))
    prepared = preprocessing(settings, labels="prepared")(case)
    assert prepared["label"].shape == prepared["image"].shape == (1, 6, 15, 10)
    assert set(prepared["label"].unique().tolist()) == {0, 1, 2}


def test_the_window_of_the_model_is_used(case: dict[str, str]) -> None:
    prepared = preprocessing(ModelSettings(NAMES, (8, 8), window=(0, 1000)))(case)
    np.testing.assert_allclose(prepared["image"][0], stored(case["image"])[::-1, ::-1] / 1000, atol=1e-6)


@pytest.mark.parametrize("labels", ["native", "prepared"])
def test_labels_are_checked(case: dict[str, str], labels: str) -> None:
    with pytest.raises(RuntimeError) as caught:  # MONAI wraps what a transform raises
        preprocessing(ModelSettings(NAMES[:2], (8, 8)), labels=labels)(case)
    assert "the label holds the values 0, 1, 2; expected 0 (background), 1 (a)" in str(caught.value.__cause__)


def test_without_labels_none_is_needed(case: dict[str, str]) -> None:
    prepared = preprocessing(ModelSettings(NAMES, (8, 8)))({"image": case["image"]})
    assert prepared["image"].shape == (1, 6, 8, 4)


def test_images_in_memory(case: dict[str, str]) -> None:
    settings = ModelSettings(NAMES, (8, 8))
    from_file = preprocessing(settings)({"image": case["image"]})["image"]
    array = MetaTensor(torch.from_numpy(stored(case["image"]).astype(np.float32))[None])
    array.affine = torch.diag(torch.tensor([-1.0, -2.0, 3.0, 1.0]))
    in_memory = preprocessing(settings, from_files=False)({"image": array})["image"]
    assert torch.equal(in_memory.as_tensor(), from_file.as_tensor())


def test_what_was_done_is_undone(case: dict[str, str]) -> None:
    """Probabilities in the prepared grid that say the label come back as the label, in the file's grid."""
    settings = ModelSettings(NAMES, (8, 8))
    prepare = preprocessing(settings, labels="prepared")
    data = prepare(case)
    one_hot = torch.nn.functional.one_hot(data["label"][0].as_tensor().long(), 3).movedim(-1, 0).float()
    data["pred"] = MetaTensor(one_hot).copy_meta_from(data["image"])
    data["entropy"] = MetaTensor(one_hot[1:2]).copy_meta_from(data["image"])
    result = postprocessing(prepare)({key: data[key] for key in ("image", "pred", "entropy")})
    label = stored(case["label"])
    np.testing.assert_array_equal(result["pred"][0], label)
    np.testing.assert_array_equal(result["probabilities"].argmax(axis=0), label)
    np.testing.assert_array_equal(result["entropy"][0], label == 1)
    assert "variance" not in result


def test_another_word() -> None:
    with pytest.raises(InputError, match="labels is 'all'; expected native, prepared or null"):
        preprocessing(ModelSettings(NAMES, (8, 8)), labels="all")


@pytest.mark.parametrize("spacing", [1e-9, 1e-4])
def test_a_spacing_at_which_a_picture_does_not_fit_in_memory(spacing: float, tmp_path: Path) -> None:
    """Nor does it take it: what pictures are resampled to counts as what volumes are."""
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(RuntimeError) as caught:
        preprocessing(ModelSettings(NAMES, (8, 8), spacing=(spacing,) * 3))({"image": str(tmp_path / "a.png")})
    assert "a.png: a picture, whose pixels count as 1 mm, resampled to" in str(caught.value.__cause__)
    assert "and memory_limit_gb is 8" in str(caught.value.__cause__)


def test_a_spacing_of_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(tmp_path / "a.png")
    prepared = preprocessing(ModelSettings(NAMES, (8, 8), spacing=(2, 4, 1)))({"image": str(tmp_path / "a.png")})
    assert prepared["image"].shape[0] == 3
    assert prepared["image"].shape[1] < 40
