from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd
from PIL import Image

from leaf_seg.transforms.label_map import ToLabelMap
from leaf_seg.transforms.load_case import LoadCase

PREPROCESSING = Compose([LoadCase("image"), Orientationd("image", axcodes="RAS", labels=None)])


def answer(file: Path, **request: Any) -> dict[str, Any]:
    """Through ToLabelMap, with probabilities that say 2 where the image has its greatest value and 0 elsewhere."""
    data: Any = PREPROCESSING({"image": str(file), **request})
    image = data["image"]
    greatest = (image[:1] == image.max()).float()
    probabilities = torch.cat([1 - greatest, torch.zeros_like(greatest), greatest])
    data["pred"] = MetaTensor(torch.as_tensor(probabilities), meta=image.meta)
    return ToLabelMap("pred", transform=PREPROCESSING, orig_keys="image")(data)


def test_label_of_a_volume_lies_in_its_own_grid(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 1, 2] = 7
    affine = np.array([[0, -2, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "volume.nii.gz")
    found = answer(tmp_path / "volume.nii.gz")
    assert found["pred"].shape == (1, 4, 5, 6)
    assert found["pred"].nonzero().tolist() == [[0, 0, 1, 2]]
    assert found["pred"][0, 0, 1, 2] == 2
    assert found["result_dtype"] is np.uint8
    assert "result_extension" not in found


@pytest.mark.parametrize(
    ("request_", "extension"), [({}, ".nii.gz"), ({"result_extension": ".nrrd"}, ".nrrd")], ids=["default", "asked"]
)
def test_label_of_a_picture_is_one_slice(request_: dict[str, Any], extension: str, tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1, 5] = 255
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    found = answer(tmp_path / "picture.png", **request_)
    assert found["pred"].shape == (1, 6, 4, 1)
    assert found["pred"].nonzero().tolist() == [[0, 5, 1, 0]]
    assert found["result_extension"] == extension
    assert found["image"].meta["spatial_shape"].tolist() == [6, 4, 1]
    assert np.array_equal(found["image"].meta["original_affine"], np.diag([-1, -1, 1, 1]))
