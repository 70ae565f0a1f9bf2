"""The labels of several raters beside an image."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from leaf_seg.data import ModelSettings
from leaf_seg.image_io.tiff_stack import TiffStack
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import postprocessing, preprocessing

SETTINGS = ModelSettings(["background", "a"], (8, 8), spacing=(1, 1, 2))
AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])  # right to left, front to back


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nib.save(nib.Nifti1Image(array, affine), path)
    return str(path)


@pytest.fixture
def case(tmp_path: Path) -> dict[str, object]:
    """A volume, its label and three raters, who mark so many voxels; the last one wrote 0 and 255, in RAS."""
    raters = []
    for number in (1, 2, 3):
        mask = np.zeros((6, 8, 4), np.uint8)
        mask[1, 2, :number] = 255
        path = tmp_path / f"r{number}.nii.gz"
        raters.append(save(path, mask[::-1, ::-1], _ras()) if number == 3 else save(path, mask))
    image = np.arange(192, dtype=np.int16).reshape(6, 8, 4)
    return {"image": save(tmp_path / "i.nii.gz", image), "label": raters[0], "raters": raters}


def _ras() -> np.ndarray:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:2, 3] = (-5, -14)
    return affine


def test_raters_are_read_as_labels_are(case: dict[str, object]) -> None:
    prepared = preprocessing(SETTINGS, labels="native", raters=True)(case)
    raters = prepared["raters"]
    assert raters.dtype == torch.uint8
    assert raters.shape == (3, 6, 8, 4)
    assert torch.equal(raters[0], prepared["label"][0].as_tensor().to(torch.uint8))
    assert raters[:, 1, 2].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert raters.sum() == 6
    assert prepared["image"].shape[1:] != raters.shape[1:]  # resampled; raters stay in the grid of the file


def test_raters_are_read_by_the_model_s_keys(tmp_path: Path) -> None:
    files = []
    for name, slices in (("i", 3), ("label", 1), ("r1", 1), ("r2", 2)):
        voxels = np.zeros((5, 4, 3), np.uint8)
        voxels[2, 1, :slices] = 1
        TiffStack().create(voxels, tmp_path / f"{name}.tif", np.diag([-1.0, -1.0, 1.0, 1.0]))
        files.append(str(tmp_path / f"{name}.tif"))
    settings = ModelSettings(["background", "a"], (8, 8), tiff_stack=True, window=(0, 1))
    case = {"image": files[0], "label": files[1], "raters": files[2:]}
    raters = preprocessing(settings, labels="native", raters=True)(case)["raters"]
    assert raters.sum(dim=(1, 2, 3)).tolist() == [1, 2]


def test_cases_without_raters_stay_as_they_are(case: dict[str, object]) -> None:
    del case["raters"]
    assert set(preprocessing(SETTINGS, labels="native", raters=True)(case)) == {"image", "label"}


def test_unfit_raters_are_refused(case: dict[str, object], tmp_path: Path) -> None:
    other = save(tmp_path / "other.nii.gz", np.zeros((6, 8, 5), np.uint8))
    values = save(tmp_path / "values.nii.gz", np.full((6, 8, 4), 3, np.uint8))
    for path, message in ((other, "sizes 6 x 8 x 4 and 6 x 8 x 5"), (values, "holds the values 3")):
        with pytest.raises(RuntimeError) as caught:  # MONAI wraps what a transform raises
            preprocessing(SETTINGS, labels="native", raters=True)(case | {"raters": [case["label"], path]})
        assert isinstance(caught.value.__cause__, InputError)
        assert message in str(caught.value.__cause__)
        assert Path(path).name in str(caught.value.__cause__)
    with pytest.raises(InputError, match="expected native or prepared labels"):
        preprocessing(SETTINGS, raters=True)


@pytest.mark.parametrize("probabilities", [True, False])
def test_hypotheses_come_into_the_grid_of_the_file_as_single_answers_do(
    case: dict[str, object], probabilities: bool
) -> None:
    prepare = preprocessing(SETTINGS, labels="native")
    prepared = prepare(case)
    maps = torch.rand(3, 2, *prepared["image"].shape[1:]).softmax(dim=1)  # [N, K, *spatial]
    finish = postprocessing(prepare, probabilities)

    def answer(values: torch.Tensor) -> MetaTensor:
        return MetaTensor(values).copy_meta_from(prepared["image"])

    alone = [finish(prepared | {"pred": answer(values)})["pred"] for values in maps]
    found = finish(prepared | {"pred": answer(maps.mean(dim=0)), "hypotheses": answer(maps)})["hypotheses"]
    assert found.dtype == torch.uint8
    assert found.shape == (3, 6, 8, 4)
    for i in range(3):
        assert torch.equal(found[i], torch.as_tensor(alone[i])[0].to(torch.uint8))
    assert not torch.equal(found[0], found[1])
