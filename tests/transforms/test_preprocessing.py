from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from leaf_seg.data import ModelSettings
from leaf_seg.image_io.tiff_stack import TiffStack
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


@pytest.fixture
def several(case: dict[str, str]) -> tuple[dict[str, str], np.ndarray]:
    """The case with an image of four channels in other units each, and these."""
    channels = np.stack(
        [stored(case["image"]).astype(np.float32) * factor + factor for factor in (1, 10, 100, 1000)], axis=-1
    )
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(channels.astype(np.float32), affine), case["image"])
    return case, channels.astype(np.float32)


def test_channels_of_a_volume(several: tuple[dict[str, str], np.ndarray]) -> None:
    """Without a window each is scaled by its own values, with one all alike."""
    case, channels = several
    prepare = preprocessing(ModelSettings(NAMES, (8, 8), channels=[0, 3, 1]), labels="native")
    prepared = prepare(case)
    assert prepared["image"].shape == (3, *channels.shape[:3])
    for channel in prepared["image"]:
        assert float(channel.min()) == 0
        assert float(channel.max()) == 1
        np.testing.assert_allclose(channel, prepared["image"][0], atol=1e-5)
    settings = ModelSettings(NAMES, (8, 8), channels=[0, 3, 1], window=(0, 4000), spacing=(1, 1, 1))
    assert preprocessing(settings)(case)["image"].shape == (3, 6, 15, 10)
    windowed = preprocessing(replace(settings, spacing=None))(case)["image"]
    expected = np.clip(np.moveaxis(channels, -1, 0)[[0, 3, 1]][:, ::-1, ::-1] / 4000, 0, 1)
    np.testing.assert_allclose(windowed, expected, atol=1e-6)


def test_one_channel_of_several_is_a_volume_as_any(several: tuple[dict[str, str], np.ndarray]) -> None:
    case, channels = several
    one = preprocessing(ModelSettings(NAMES, (8, 8), channels=2), labels="prepared")(case)
    nib.save(nib.Nifti1Image(channels[..., 2], np.diag([-1.0, -2.0, 3.0, 1.0])), case["image"])
    alone = preprocessing(ModelSettings(NAMES, (8, 8)), labels="prepared")(case)
    assert torch.equal(one["image"].as_tensor(), alone["image"].as_tensor())
    assert torch.equal(one["image"].affine, alone["image"].affine)


@pytest.mark.parametrize(("of_image", "of_label"), [(0.5, None), (None, 0.5), (None, None), (0.5, 0.5), (0.5, 0.7)])
def test_a_stack_beside_one_whose_file_does_not_say_its_size(
    of_image: float | None, of_label: float | None, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(0).integers(0, 2, (6, 5, 4)).astype(np.uint8)
    for name, size in (("image", of_image), ("label", of_label)):
        if size is not None:
            TiffStack().create(voxels, tmp_path / f"{name}.tif", np.diag([-size, -size, 2, 1]))
            continue
        first, *others = (Image.fromarray(page.T.copy()) for page in np.moveaxis(voxels, -1, 0))
        first.save(tmp_path / f"{name}.tif", save_all=True, append_images=others)
    prepare = preprocessing(ModelSettings(NAMES[:2], (8, 8), tiff_stack=True), labels="prepared")
    case = {name: str(tmp_path / f"{name}.tif") for name in ("image", "label")}
    if of_image and of_label and of_image != of_label:
        with pytest.raises(RuntimeError) as error:
            prepare(case)
        assert "affine matrices that place their corners up to" in str(error.value.__cause__)
        return
    prepared = prepare(case)
    np.testing.assert_array_equal(prepared["label"][0], voxels[::-1, ::-1])
    assert torch.equal(prepared["label"].affine, prepared["image"].affine)
    assert prepared["image"].pixdim.tolist() == pytest.approx([of_image or 1, of_image or 1, 2 if of_image else 1])
