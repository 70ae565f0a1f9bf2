"""Official downloads: generated folders of their layouts, and the real files of CVC-ClinicDB."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from leaf_seg.__main__ import main
from leaf_seg.data import load_datalist
from leaf_seg.data.prepare import prepare
from leaf_seg.data.splits import SPLITS
from leaf_seg.runtime.errors import InputError
from tests.data.layouts.files import write_json

SQUARE = np.zeros((8, 10), np.uint8)
SQUARE[2:5, 3:7] = 255


def _picture(file: Path, values: np.ndarray = SQUARE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


def _cvc(root: Path) -> None:
    for number in (1, 2, 25, 26, 612):
        _picture(root / "CVC-ClinicDB" / "Original" / f"{number}.tif", np.dstack([SQUARE] * 3))
        _picture(root / "CVC-ClinicDB" / "Ground Truth" / f"{number}.tif")


def _qata(root: Path) -> None:
    names = {"Train Set": ["covid_1", "covid_2", "sub-S03048_ses-1", "covid_4"], "Test Set": ["sub-S03048_ses-2", "x"]}
    for part, cases in names.items():
        for name in cases:
            _picture(root / "QaTa-COV19-v2" / part / "Images" / f"{name}.png")
            _picture(root / "QaTa-COV19-v2" / part / "Ground-truths" / f"mask_{name}.png")


def _isic(root: Path) -> None:
    for number, word in enumerate(("Training", "Validation", "Test")):
        _picture(root / f"ISIC2018_Task1-2_{word}_Input" / f"ISIC_000{number}.jpg", np.dstack([SQUARE] * 3))
        _picture(root / f"ISIC2018_Task1_{word}_GroundTruth" / f"ISIC_000{number}_segmentation.png")
        (root / f"ISIC2018_Task1-2_{word}_Input" / "LICENSE.txt").touch()


def _refuge(root: Path) -> None:
    mask = np.full((8, 10), 255, np.uint8)
    mask[2:5, 3:7] = 128
    mask[3:4, 4:6] = 0
    folders = {
        "g0001": ("Training400/Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Glaucoma"),
        "n0001": ("Training400/Non-Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma"),
        "V0001": ("REFUGE-Validation400", "REFUGE-Validation400-GT/Disc_Cup_Masks"),
        "T0001": ("REFUGE-Test400", "REFUGE-Test-GT/Disc_Cup_Masks"),
    }
    for name, (images, masks) in folders.items():
        _picture(root / images / f"{name}.jpg", np.dstack([SQUARE] * 3))
        _picture(root / masks / f"{name}.bmp", mask)


def _volume(file: Path, *shape: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 2, 3, 1])), file)


def _decathlon(root: Path, *channels: int, task: str = "Task05_Prostate") -> None:
    entries = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "abc"]
    for entry in entries:
        _volume(root / task / entry["image"], 4, 4, 2, *channels)
        _volume(root / task / entry["label"], 4, 4, 2)
    modality = {"0": "T2", "1": "ADC"} if channels else {"0": "MRI"}
    labels = {"0": "background", "1": "PZ", "2": "TZ"}
    content = {"modality": modality, "labels": labels, "numTraining": 3, "numTest": 1, "test": ["./imagesTs/z.nii.gz"]}
    write_json(root / task / "dataset.json", content | {"training": entries})


def _names(folder: Path, file: str = "split.json") -> dict[str, list[str]]:
    return {
        split: [name.split(".")[0] for name in names]
        for split, names in json.loads((folder / file).read_text()).items()
    }


@pytest.mark.parametrize(
    ("name", "write", "classes", "counts"),
    [
        ("cvc_clinicdb", _cvc, ["background", "polyp"], [3, 1, 1]),
        ("qata_cov19", _qata, ["background", "infection"], [3, 1, 2]),
        ("isic2018", _isic, ["background", "lesion"], [1, 1, 1]),
        ("refuge2", _refuge, ["background", "optic disc", "optic cup"], [2, 1, 1]),
    ],
)
def test_pictures(
    tmp_path: Path, name: str, write: Callable[[Path], None], classes: list[str], counts: list[int]
) -> None:
    write(tmp_path / "download")
    with pytest.raises(InputError, match=r"published are .* pass --partial"):
        prepare(name, str(tmp_path / "download"), str(tmp_path / "set"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["download"]
    folder = prepare(name, str(tmp_path / "download"), str(tmp_path / "set"), partial=True)
    datalist = load_datalist(str(folder))
    assert datalist.class_names == classes
    assert [len(getattr(datalist, split)) for split in SPLITS] == counts
    for case in (*datalist.training, *datalist.validation, *datalist.testing):
        label = np.array(Image.open(case["label"]))
        assert set(np.unique(label)) == set(range(len(classes)))
        assert (label > 0).sum() == 12
        assert label[3, 4] == len(classes) - 1
        assert Image.open(case["image"]).size == (10, 8)


def test_a_split_that_leaks_gets_an_honest_one_beside_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _qata(tmp_path / "download")
    folder = prepare("qata_cov19", str(tmp_path / "download"), str(tmp_path / "set"), partial=True)
    assert "split.json leaks: 1 of 1 groups" in caplog.text
    assert set(_names(folder)["testing"]) == {"sub-S03048_ses-2", "x"}
    honest = _names(folder, "split_by_group.json")
    assert sum(any(name.startswith("sub") for name in names) for names in honest.values()) == 1
    caplog.clear()
    load_datalist(str(folder))
    assert "the split leaks" in caplog.text
    caplog.clear()
    load_datalist(str(folder), split_file="split_by_group.json")
    assert "leaks" not in caplog.text


def test_archives(tmp_path: Path) -> None:
    _isic(tmp_path / "parts")
    (tmp_path / "download").mkdir()
    for part in (tmp_path / "parts").iterdir():
        shutil.make_archive(str(tmp_path / "download" / part.name), "zip", tmp_path / "parts", part.name)
    folder = prepare("isic2018", str(tmp_path / "download"), str(tmp_path / "set"), partial=True)
    assert len(list((folder / "images").iterdir())) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["download", "parts", "set"]
    (tmp_path / "cut.zip").write_bytes((tmp_path / "download" / "ISIC2018_Task1-2_Test_Input.zip").read_bytes()[:100])
    with pytest.raises(InputError, match=r"cut\.zip: cannot be unpacked"):
        prepare("isic2018", str(tmp_path / "cut.zip"), str(tmp_path / "other"))


def test_a_task_of_the_decathlon(tmp_path: Path) -> None:
    _decathlon(tmp_path / "download", task="Task99_Own")
    with tarfile.open(tmp_path / "Task99_Own.tar", "w") as tape:
        tape.add(tmp_path / "download" / "Task99_Own", "Task99_Own")
    folder = prepare("decathlon", str(tmp_path / "Task99_Own.tar"), str(tmp_path / "set"))
    datalist = load_datalist(str(folder), fractions=(0.4, 0.3, 0.3))
    assert datalist.class_names == ["background", "PZ", "TZ"]
    assert not (folder / "split.json").exists()


def test_a_task_with_channels(tmp_path: Path) -> None:
    _decathlon(tmp_path / "download", 2)
    with pytest.raises(InputError, match=r"has 2 images \(T2, ADC\)"):
        prepare("decathlon", str(tmp_path / "download"), str(tmp_path / "set"))
    with pytest.raises(InputError, match="has 3 in all cases; published are 32 in all"):
        prepare("decathlon", str(tmp_path / "download"), str(tmp_path / "set"), modality="ADC")
    folder = prepare("decathlon", str(tmp_path / "download"), str(tmp_path / "set"), partial=True, modality="ADC")
    volume = nibabel.Nifti1Image.from_filename(folder / "images" / "a.nii.gz")
    original = nibabel.Nifti1Image.from_filename(tmp_path / "download" / "Task05_Prostate" / "imagesTr" / "a.nii.gz")
    np.testing.assert_array_equal(volume.get_fdata(), original.get_fdata()[..., 1])
    np.testing.assert_array_equal(volume.affine, original.affine)


def test_unfit_downloads(tmp_path: Path) -> None:
    _cvc(tmp_path / "download")
    inner = tmp_path / "download" / "CVC-ClinicDB"
    with pytest.raises(InputError, match=r"No data set 'cvc_clinic'.*did you mean 'cvc_clinicdb'"):
        prepare("cvc_clinic", str(tmp_path / "download"), str(tmp_path / "set"))
    with pytest.raises(InputError, match=r"no pairs of REFUGE2 there; expected photographs g0001\.jpg"):
        prepare("refuge2", str(tmp_path / "download"), str(tmp_path / "set"))
    with pytest.raises(InputError, match="is there already"):
        prepare("cvc_clinicdb", str(inner), str(inner), partial=True)
    _picture(inner / "Ground Truth" / "2.tif", SQUARE[:4])
    with pytest.raises(InputError, match=r"2\.tif has 10 x 8 pixels, its label 10 x 4"):
        prepare("cvc_clinicdb", str(inner), str(tmp_path / "set"), partial=True)
    (inner / "Ground Truth" / "2.tif").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.tif: cannot be read"):
        prepare("cvc_clinicdb", str(inner), str(tmp_path / "set"), partial=True)
    (inner / "Ground Truth" / "2.tif").unlink()
    with pytest.raises(InputError, match=r"1 images without label, or labels without image: 002"):
        prepare("cvc_clinicdb", str(inner), str(tmp_path / "set"), partial=True)
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_the_real_cvc_clinicdb_by_the_command(
    tmp_path: Path, shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    download = tmp_path / "CVC-ClinicDB"
    for number in range(1, 613):
        for part, folder in (("Original", "images"), ("Ground Truth", "labels")):
            source, target = (
                shared_data / "cvc_clinicdb" / folder / f"{number:03d}.png",
                download / part / f"{number}.png",
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            if part == "Original":
                target.symlink_to(source)
            else:  # as the download has it
                Image.fromarray(np.array(Image.open(source)) * np.uint8(255)).save(target)
    assert main(["prepare", "cvc_clinicdb", str(download), str(tmp_path / "set")]) == 0
    assert "split.json leaks: " in caplog.text
    assert [len(names) for names in _names(tmp_path / "set").values()] == [490, 62, 60]
    datalist = load_datalist(str(tmp_path / "set"), split_file="split_by_group.json")
    assert sum(len(getattr(datalist, split)) for split in SPLITS) == 612
    parts = [{datalist.groups[case["image"]] for case in getattr(datalist, split)} for split in SPLITS]
    assert [len(part) for part in parts] == [23, 3, 3]  # of sequences
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    for number in (1, 300, 612):
        made, real = (
            np.array(Image.open(root / "labels" / f"{number:03d}.png"))
            for root in (tmp_path / "set", shared_data / "cvc_clinicdb")
        )
        np.testing.assert_array_equal(made, real)
