"""A structure is where it is, whatever format and voxel order its file has; nibabel and ITK find it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from leaf_seg import Segmenter
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io import format_of, read_grid, read_image, write_label
from leaf_seg.image_io.formats import FORMATS
from leaf_seg.inference.segment_files import segment_files
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.networks import LatentSegmenter
from leaf_seg.transforms.check_pair import CheckPair
from tests.image_io.dicom_files import write_enhanced, write_slice

# Axes at right angles, which all formats can have, turned by 20 degrees about the third.
TURN = np.deg2rad(20)
DIRECTIONS = np.array([[np.cos(TURN), -np.sin(TURN), 0], [np.sin(TURN), np.cos(TURN), 0], [0, 0, 1]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = DIRECTIONS * [0.8, 1.2, 2.5]
AFFINE[:3, 3] = [-13.25, 40.5, -7.75]
BRIGHT = (slice(1, 4), slice(5, 7), slice(3, 5))  # lies in one corner
VOXELS = np.random.default_rng(0).integers(0, 100, (9, 8, 6)).astype(np.int16)
VOXELS[BRIGHT] += 1000
PLACE = (AFFINE @ [2, 5.5, 3.5, 1])[:3]  # RAS+, of the middle of what is bright
ORDERS = ("RAS", "LPS", "LAI", "SRA", "PIL")


def ordered(order: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in another order, and their affine."""
    change = ornt_transform(io_orientation(AFFINE), axcodes2ornt(order))
    return apply_orientation(VOXELS, change), AFFINE @ inv_ornt_aff(change, VOXELS.shape)


def by_nibabel(kind: Any) -> Callable[[Path, np.ndarray, np.ndarray], None]:
    return lambda path, voxels, affine: nib.save(kind(voxels, affine), path)


def by_itk(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image: Any = itk.image_from_array(np.ascontiguousarray(voxels.T))
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
    itk.imwrite(image, str(path))


def by_pydicom(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    for index in range(voxels.shape[2]):
        place = (lps @ [0, 0, index, 1])[:3]
        write_slice(
            path / f"IM{(7 * index) % 101:03}",
            np.ascontiguousarray(voxels[..., index].T),
            tuple(place),
            PixelSpacing=[float(spacing[1]), float(spacing[0])],
            ImageOrientationPatient=[*directions[:, 0], *directions[:, 1]],
            SliceThickness=float(spacing[2]),
        )


def in_frames(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    order = [(5 * index) % voxels.shape[2] for index in range(voxels.shape[2])]
    write_enhanced(
        path,
        [np.ascontiguousarray(voxels[..., index].T) for index in order],
        [tuple((lps @ [0, 0, index, 1])[:3]) for index in order],
        directions=[*directions[:, 0], *directions[:, 1]],
        spacing=spacing.tolist(),
    )


# What is written, and what of: an image's file, and its label's.
WRITERS: dict[str, tuple[Callable[[Path, np.ndarray, np.ndarray], None], str]] = {
    "a.nii.gz": (by_nibabel(nib.Nifti1Image), ".nii.gz"),
    "a.nii": (by_nibabel(nib.Nifti1Image), ".nii"),
    "a.img": (by_nibabel(nib.Nifti1Pair), ".nii.gz"),
    "a.nrrd": (by_itk, ".nrrd"),
    "a.mha": (by_itk, ".mha"),
    "a.mhd": (by_itk, ".mha"),
    "a.mgz": (by_nibabel(nib.freesurfer.MGHImage), ".mgz"),
    "a": (by_pydicom, ".nii.gz"),
    "a.dcm": (in_frames, ".nii.gz"),
}


def place_by_nibabel(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return (image.affine @ [*np.argwhere(np.asarray(image.dataobj) == 1).mean(0), 1])[:3]


def place_by_itk(path: Path) -> np.ndarray:
    image: Any = itk.imread(str(path))
    indices = np.argwhere(itk.array_view_from_image(image) == 1)[:, ::-1].tolist()
    return np.mean([image.TransformIndexToPhysicalPoint(index) for index in indices], axis=0) * [-1, -1, 1]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_structure_is_found_where_it_is(name: str, order: str, tmp_path: Path) -> None:
    save, suffix = WRITERS[name]
    source = tmp_path / "images" / name
    source.parent.mkdir()
    voxels, affine = ordered(order)
    save(source, voxels, affine)

    image = read_image(source)
    grid = read_grid(source)
    assert tuple(image.shape[1:]) == grid.shape
    assert grid.affine is not None
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-5)
    bright = np.argwhere(image[0].numpy() >= 1000)
    np.testing.assert_allclose((grid.affine @ [*bright.mean(0), 1])[:3], PLACE, atol=1e-3)

    label = write_label((image[0].numpy() >= 1000).astype(np.uint8), source, tmp_path / "out")
    assert label.name == f"a{suffix}"
    if suffix not in (".nrrd", ".mha"):
        np.testing.assert_allclose(place_by_nibabel(label), PLACE, atol=1e-3)
    if suffix != ".mgz":
        np.testing.assert_allclose(place_by_itk(label), PLACE, atol=1e-3)

    beside = tmp_path / "label.nii.gz"  # as somebody drew it, in the order of his program
    nib.save(nib.Nifti1Image((VOXELS >= 1000).astype(np.uint8), AFFINE), beside)
    for drawn in (label, beside):
        pair = {"image": image, "label": read_image(drawn, is_label=True)}
        checked = CheckPair(num_classes=2)(pair)["label"]
        np.testing.assert_array_equal(checked[0], image[0].numpy() >= 1000)
        np.testing.assert_allclose(checked.affine, image.affine, atol=1e-3)


def test_every_format_of_volumes_is_here() -> None:
    pictures = {"PNG", "JPEG", "TIFF", "BMP", "WebP", "JPEG 2000"}
    here = {form.name for form in FORMATS for name in WRITERS if name.endswith(form.suffixes)} | {"DICOM"}
    assert here == {form.name for form in FORMATS} - pictures


def test_the_segmentation_is_the_same_whatever_the_file_is(
    make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    segmenter = Segmenter(make_segmenter(), ModelSettings(["background", "a", "b"], (16, 16)), device="cpu")
    sources = []
    for number, (name, (save, _)) in enumerate(WRITERS.items()):
        path = tmp_path / "images" / name.replace("a", f"case_{number}", 1)
        path.parent.mkdir(exist_ok=True)
        save(path, *ordered(ORDERS[number % len(ORDERS)]))
        sources.append(str(path))
    names = ["background", "a", "b"]
    segment_files(segmenter, sources, SegmentationWriter(tmp_path / "out", names, save_overlays=False))
    results = sorted(path for path in (tmp_path / "out").iterdir() if path.name.startswith("case_"))
    assert len(results) == len(sources)
    expected = None
    for path in results:
        label = read_image(path, is_label=True)
        to_ras = io_orientation(label.affine.numpy())
        turned = apply_orientation(label[0].numpy(), to_ras)
        expected = turned if expected is None else expected
        assert len(np.unique(turned)) > 1
        assert (turned == expected).mean() > 0.99, (path.name, format_of(path).name)


def test_a_label_without_its_image_s_unit_is_in_its_place(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image((VOXELS > 500).astype(np.uint8), AFFINE), tmp_path / "label.nii.gz")
    case = {key: read_image(tmp_path / f"{key}.nii.gz", key == "label") for key in ("image", "label")}
    found = CheckPair(num_classes=2)(case)
    np.testing.assert_allclose(found["label"].affine, found["image"].affine)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_volumes_of_long_numbers(dtype: Any, tmp_path: Path) -> None:
    values = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    kind = {"int64": "MET_LONG_LONG", "uint64": "MET_ULONG_LONG"}[np.dtype(dtype).name]
    fields = {
        "NDims": 3,
        "DimSize": "4 3 2",
        "ElementType": kind,
        "ElementSpacing": "1 1 1",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{name} = {value}\n" for name, value in fields.items())
    (tmp_path / "a.mha").write_bytes(header.encode() + values.tobytes())
    fields = {"type": np.dtype(dtype).name, "dimension": 3, "space": "LPS", "sizes": "4 3 2"}
    fields |= {"space directions": "(1,0,0) (0,1,0) (0,0,1)", "endian": "little", "encoding": "raw"}
    header = "".join(f"{name}: {value}\n" for name, value in fields.items())
    (tmp_path / "a.nrrd").write_bytes(f"NRRD0004\n{header}\n".encode() + values.tobytes())
    for name in ("a.mha", "a.nrrd"):
        np.testing.assert_array_equal(read_image(tmp_path / name, True)[0], values.T)
