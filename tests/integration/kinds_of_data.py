"""Data sets with a bright box in every case, in the formats, layouts and voxel orders that people have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from PIL import Image, ImageSequence

from tests.image_io.test_places import AFFINE, ORDERS, by_itk, by_nibabel, by_pydicom, in_frames

SPLITS = ("train", "train", "train", "val", "test")  # of the cases that a data set has
SHAPE = (26, 22, 14)
BRIGHT, DARK, WINDOW = 1000, 80, [0, 1100]  # stored values of volumes
Save = Callable[[Path, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Kind:
    """A kind of file: how an image's and a label's are called and written."""

    suffix: str
    label_suffix: str
    save: Save
    save_label: Save
    is_volume: bool = False
    is_folder: bool = False
    has_place: bool = True
    options: tuple[str, ...] = ()  # of training; the model keeps them


def _as_pillow(**options: Any) -> Save:
    return lambda path, pixels, _: Image.fromarray(pixels).save(path, **options)


def _zipped(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    folder = path.with_suffix("")
    by_pydicom(folder, voxels, affine)
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)


def _with_channels(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """The image is the second of two channels."""
    nib.save(nib.Nifti1Image(np.stack([voxels * 0 + 500, voxels], axis=-1), affine), path)


def _one_hot(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(np.stack([voxels == 0, voxels == 1], axis=-1).astype(np.uint8), affine), path)


def _pages(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Slices of a volume without a place."""
    slices = np.moveaxis(voxels.astype(np.uint16), 2, 0)
    first, *others = (Image.fromarray(np.ascontiguousarray(page.T)) for page in slices)
    first.save(path, save_all=True, append_images=others)


def _picture(suffix: str, label_suffix: str | None = None, **options: Any) -> Kind:
    return Kind(
        suffix, label_suffix or suffix, _as_pillow(**options), _as_pillow(**options if not label_suffix else {})
    )


def _volume(suffix: str, save: Save, label_suffix: str | None = None, **options: Any) -> Kind:
    save_label = by_nibabel(nib.Nifti1Image) if label_suffix else save
    return Kind(suffix, label_suffix or suffix, save, save_label, True, **options)


KINDS = {
    "PNG": _picture(".png"),
    "JPEG": _picture(".jpg", ".png", quality=95),
    "TIFF": _picture(".tif"),
    "BMP": _picture(".bmp"),
    "WebP": _picture(".webp", lossless=True),
    "JPEG 2000": _picture(".jp2"),
    "NIfTI": _volume(".nii.gz", by_nibabel(nib.Nifti1Image)),
    "NIfTI-2": _volume(".nii", by_nibabel(nib.Nifti2Image)),
    "NIfTI or Analyze pair": _volume(".img", by_nibabel(nib.Nifti1Pair)),
    "NRRD": _volume(".nrrd", by_itk),
    "MetaImage": _volume(".mha", by_itk),
    "MetaImage in two files": _volume(".mhd", by_itk),
    "FreeSurfer": _volume(".mgz", by_nibabel(nib.freesurfer.MGHImage)),
    "DICOM series": _volume("", by_pydicom, ".nii.gz", is_folder=True),
    "NIfTI with channels": Kind(
        ".nii.gz", ".nii.gz", _with_channels, by_nibabel(nib.Nifti1Image), True, options=("--channels", "1")
    ),
    "NIfTI with one-hot labels": Kind(
        ".nii.gz", ".nii.gz", by_nibabel(nib.Nifti1Image), _one_hot, True, options=("--label_encoding", "one_hot")
    ),
    "TIFF of pages": _volume(".tif", _pages, has_place=False, options=("--tiff_stack", "true")),
    "DICOM in frames": _volume(".dcm", in_frames, ".nii.gz"),
    "DICOM archive": _volume(".zip", _zipped, ".nii.gz"),
}


def two_folders(case: int, split: str) -> tuple[str, str]:
    return f"images/c{case}", f"masks/c{case}"


def split_folders(case: int, split: str) -> tuple[str, str]:
    return f"{split}/images/c{case}", f"{split}/labels/c{case}"


def folders_of_splits(case: int, split: str) -> tuple[str, str]:
    return f"images/{split}/c{case}", f"labels/{split}/c{case}"


def beside(case: int, split: str) -> tuple[str, str]:
    return f"c{case}", f"c{case}_segmentation"


def patients(case: int, split: str) -> tuple[str, str]:
    return f"P{case}/scan_{case}", f"P{case}/scan_{case}_mask"


def brats(case: int, split: str) -> tuple[str, str]:
    return f"P{case}/P{case}_flair", f"P{case}/P{case}_seg"


def nnunet(case: int, split: str) -> tuple[str, str]:
    end = "Ts" if split == "test" else "Tr"
    return f"images{end}/c_{case}_0000", f"labels{end}/c_{case}"


def decathlon(case: int, split: str) -> tuple[str, str]:
    return f"imagesTr/c{case}", f"labelsTr/c{case}"


def datalist(case: int, split: str) -> tuple[str, str]:
    return f"Bild {case}/größe", f"Bild {case}/маска"


def table(case: int, split: str) -> tuple[str, str]:
    return f"a/c{case}", f"b/c{case}"


LAYOUTS: tuple[Callable[[int, str], tuple[str, str]], ...] = (
    two_folders,
    split_folders,
    folders_of_splits,
    beside,
    patients,
    brats,
    nnunet,
    decathlon,
    datalist,
    table,
)


def fits(kind: Kind, layout: Callable[..., Any]) -> bool:
    """Whether a data set can be so: a series is no folder of a patient, and nnU-Net's files have one ending."""
    if kind.is_folder:
        return layout in (two_folders, split_folders, folders_of_splits, datalist, table)
    return kind.suffix == kind.label_suffix or layout is not nnunet


def box(rng: np.random.Generator, shape: tuple[int, ...], in_corner: bool) -> np.ndarray:
    """A label with one box of a third to half of each side, nowhere at the rim; in a corner or anywhere."""
    label = np.zeros(shape, np.uint8)
    sides = [int(rng.integers(side // 3, side // 2 + 1)) for side in shape]
    starts = [
        1 if in_corner else int(rng.integers(1, side - length)) for side, length in zip(shape, sides, strict=True)
    ]
    label[tuple(slice(start, start + length) for start, length in zip(starts, sides, strict=True))] = 1
    return label


def make_case(
    rng: np.random.Generator, kind: Kind, order: str = "RAS", in_corner: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label and affine of a case, of a volume in a voxel order."""
    if not kind.is_volume:
        label = box(rng, (34, 28), in_corner)
        return (label * 220 + rng.integers(0, 20, label.shape)).astype(np.uint8), label, np.eye(4)
    label = box(rng, SHAPE, in_corner)
    image = (label * np.int16(BRIGHT) + rng.integers(0, DARK, label.shape)).astype(np.int16)
    change = ornt_transform(io_orientation(AFFINE), axcodes2ornt(order))
    turned = (np.ascontiguousarray(apply_orientation(array, change)) for array in (image, label))
    return *turned, AFFINE @ inv_ornt_aff(change, SHAPE)


def make_data_set(root: Path, kind: Kind, layout: Callable[[int, str], tuple[str, str]]) -> tuple[Path, list[str]]:
    """Write one; what ``--dataset_dir`` is, and the further options that it needs."""
    rng, cases = np.random.default_rng(1), []
    for number, split in enumerate(SPLITS):
        image, label, affine = make_case(rng, kind, ORDERS[number % len(ORDERS)])
        stems = layout(number, split)
        files = (root / f"{stems[0]}{kind.suffix}", root / f"{stems[1]}{kind.label_suffix}")
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        kind.save(files[0], image, affine)
        kind.save_label(files[1], label, affine)
        if layout is brats:
            kind.save(files[0].with_name(files[0].name.replace("flair", "t1")), image * 0 + 1, affine)
        cases.append((split, files[0].relative_to(root).as_posix(), files[1].relative_to(root).as_posix()))
    return _with_list(root, kind, layout, cases)


def _with_list(root: Path, kind: Kind, layout: Callable[..., Any], cases: list[tuple[str, str, str]]) -> Any:
    names = {"train": "training", "val": "validation", "test": "testing"}
    if layout is brats:
        return root, ["--modality", "flair"]
    if layout is nnunet:
        content = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "box": 1}}
        content |= {"numTraining": 4, "file_ending": kind.suffix}
        (root / "dataset.json").write_text(json.dumps(content))
    if layout is decathlon:
        pairs = [{"image": f"./{image}", "label": f"./{label}"} for _, image, label in cases]
        content = {"labels": {"0": "background", "1": "box"}, "training": pairs, "test": [], "numTraining": 5}
        (root / "dataset.json").write_text(json.dumps(content))
    if layout is datalist:
        lists: dict[str, list[dict[str, str]]] = {name: [] for name in names.values()}
        for split, image, label in cases:
            lists[names[split]].append({"image": image.replace("/", "\\"), "label": label})
        (root / "cases.json").write_text("\ufeff" + json.dumps(lists, ensure_ascii=False), encoding="utf-8")
        return root / "cases.json", []
    if layout is table:
        rows = [f"{image};{label};{split}" for split, image, label in cases]
        (root / "cases.csv").write_text("\n".join(["image;label;split", *rows]))
        return root / "cases.csv", []
    return root, []


def places(path: Path) -> Iterator[np.ndarray]:
    """Where class 1 lies in a result: in RAS+ mm by nibabel and by ITK, whichever read it; else in voxels."""
    if path.suffix in (".png", ".tif"):
        with Image.open(path) as picture:
            pages = [np.asarray(page) == 1 for page in ImageSequence.Iterator(picture)]
        yield np.argwhere(pages[0] if len(pages) == 1 else np.stack(pages).T).mean(0)
        return
    if path.name.endswith((".nii", ".nii.gz", ".mgz")):
        image: Any = nib.load(path)
        yield (image.affine @ [*np.argwhere(np.asarray(image.dataobj) == 1).mean(0), 1])[:3]
    if not path.name.endswith((".mgz", ".nii")):  # ITK reads no NIfTI-2, as which such a source's results are written
        volume: Any = itk.imread(str(path))
        indices = np.argwhere(itk.array_view_from_image(volume) == 1)[:, ::-1].tolist()
        yield np.mean([volume.TransformIndexToPhysicalPoint(index) for index in indices], axis=0) * [-1, -1, 1]
