"""The files of an evaluator that segments real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, CopyItemsd, Lambdad
from PIL import Image

from leaf_seg.handlers.segmentation_saver import SegmentationSaver
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.load_case import LoadCase

CLASSES = ["background", "cell"]


class Threshold(torch.nn.Module):
    """Class probabilities [B, 2, *spatial] of the images [B, C, *spatial]: class 1 where the image is bright."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = torch.where(image[:, :1] >= 100, 0.9, 0.2)
        return torch.cat([1 - bright, bright], dim=1)


def segment(images: list[str], saver: SegmentationSaver, **maps: float) -> None:
    """Segment the images one by one; ``maps`` names maps of one value that the outputs also hold."""
    names = ["probabilities", *maps]
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([{"image": image} for image in images], LoadCase("image"))),
        network=Threshold(),
        prepare_batch=lambda batch, device, non_blocking: (batch["image"].to(device), None),
        postprocessing=Compose(
            [
                CopyItemsd("pred", times=len(names), names=names),
                *(Lambdad(name, lambda x, value=value: torch.full_like(x[:1], value)) for name, value in maps.items()),
                AsDiscreted("pred", argmax=True),
            ]
        ),
        val_handlers=[saver],
    ).run()


def load_nifti(path: Path | str) -> Any:
    return nib.load(path)


def picture(path: Path) -> str:
    """An RGB picture with a bright block."""
    path.parent.mkdir(exist_ok=True)
    image = np.zeros((24, 32, 3), dtype=np.uint8)
    image[4:12, 8:24] = 200
    Image.fromarray(image).save(path)
    return str(path)


def volume(path: Path, orientation: str) -> str:
    """A volume with a bright block at one side of the patient, the same for every orientation of the voxels."""
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(0).integers(0, 80, (16, 20, 10)).astype(np.int16)
    image[2:6, 12:18, 3:8] = 500
    ras = nib.Nifti1Image(image, np.diag([1.0, 0.8, 3.0, 1.0]))
    codes = nib.orientations.axcodes2ornt(orientation)
    nib.save(ras.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(ras.affine), codes)), path)
    return str(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_picture(tmp_path: Path, name: str):
    image = picture(tmp_path / "images" / name)
    segment([image], SegmentationSaver(tmp_path / "out", CLASSES))
    with Image.open(tmp_path / "out" / "a.png") as written:
        label = np.asarray(written)
    assert label.shape == (24, 32)
    assert set(np.unique(label)) == {0, 1}
    assert label[8, 16] == 1
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["a.png", "overlays/a.png"]


def test_volumes_of_any_orientation(tmp_path: Path):
    overlays = []
    for orientation in ("RAS", "LPI", "SAR"):
        image = volume(tmp_path / orientation / "a.nii.gz", orientation)
        segment([image], SegmentationSaver(tmp_path / orientation / "out", CLASSES, axis="coronal"))
        written, source = load_nifti(tmp_path / orientation / "out" / "a.nii.gz"), load_nifti(image)
        np.testing.assert_array_equal(np.asarray(written.dataobj), source.get_fdata() >= 100)
        np.testing.assert_array_equal(written.affine, source.affine)
        with Image.open(tmp_path / orientation / "out" / "overlays" / "a.png") as overlay:
            overlays.append(np.asarray(overlay))
    np.testing.assert_array_equal(overlays[0], overlays[1])
    np.testing.assert_array_equal(overlays[0], overlays[2])


def test_probabilities_and_uncertainty(tmp_path: Path):
    images = [picture(tmp_path / "images" / "a.png"), volume(tmp_path / "images" / "b.nii.gz", "LPI")]
    out = tmp_path / "out"
    saver = SegmentationSaver(out, CLASSES, save_probabilities=True, save_overlays=False)

    segment(images, saver, variance=0.25, entropy=float(np.log(2)))

    with Image.open(out / "probabilities" / "a_cell.png") as written:
        assert np.asarray(written)[8, 16] / 65535 == pytest.approx(0.9, abs=1e-4)
    with Image.open(out / "uncertainty" / "a_entropy.png") as written:
        assert np.asarray(written).min() == 65535, "ln K is the greatest entropy"
    probabilities = load_nifti(out / "probabilities" / "b_probabilities.nii.gz").get_fdata()
    bright = load_nifti(images[1]).get_fdata() >= 100
    np.testing.assert_allclose(probabilities[..., 1], np.where(bright, 0.9, 0.2), atol=1e-6)
    np.testing.assert_array_equal(load_nifti(out / "uncertainty" / "b_variance.nii.gz").get_fdata(), 0.25)
    assert not (out / "overlays").exists()


def test_cases_of_the_same_name_are_refused_before_anything_is_written(tmp_path: Path):
    images = [picture(tmp_path / folder / "image.png") for folder in ("a", "b")]
    with pytest.raises(InputError, match=r"a/image.png and .*b/image.png would both"):
        segment(images, SegmentationSaver(tmp_path / "out", CLASSES))
    assert list((tmp_path / "out").iterdir()) == []


def test_images_are_not_overwritten(tmp_path: Path):
    image = Path(picture(tmp_path / "images" / "a.png"))
    before = image.read_bytes()
    with pytest.raises(InputError, match="where results would be written"):
        segment([str(image)], SegmentationSaver(tmp_path / "images", CLASSES))
    assert image.read_bytes() == before


def test_unwritable_folder_is_found_before_the_run(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output_dir"):
        segment([picture(tmp_path / "a.png")], SegmentationSaver(tmp_path / "file" / "out", CLASSES))
