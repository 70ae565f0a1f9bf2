"""A header and its voxels are one volume, whichever of the two files is named."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import scipy.io

from leaf_seg.data.layouts import read_layout
from leaf_seg.image_io import case_name, format_of, image_files, list_images, read_grid, read_image, write_label
from leaf_seg.image_io.digest import file_digest
from leaf_seg.image_io.remarks import forget_remarks
from leaf_seg.runtime.errors import InputError
from tests.image_io.dicom_files import write_slice

VOXELS = np.random.default_rng(0).integers(-500, 900, (5, 6, 4)).astype(np.int16)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0.3, -20], [0, -0.2, 2.5, 5], [0, 0, 0, 1]])
MIDDLE = np.array([[-2.0, 0, 0, 4], [0, 3, 0, -7.5], [0, 0, 4, -6], [0, 0, 0, 1]])  # right to left, about the middle


def analyze(folder: Path, name: str = "a", endianness: str = "<", **fields: Any) -> Path:
    """Analyze 7.5 as a program writes it that knows nothing of SPM."""
    header = nib.AnalyzeImage.header_class(endianness=endianness)
    header.set_data_dtype(np.int16)
    header.set_data_shape(VOXELS.shape)
    header.set_zooms((2, 3, 4))
    content = bytearray(header.binaryblock)
    places = {"origin": (253, "i2"), "scl_slope": (112, "f4"), "cal_max": (124, "f4"), "glmax": (140, "i4")}
    for key, values in fields.items():
        at, kind = places[key]
        part = np.array(values, f"{endianness}{kind}").tobytes()
        content[at : at + len(part)] = part
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.hdr").write_bytes(content)
    stored = VOXELS.astype(f"{endianness}i2")
    (folder / f"{name}.img").write_bytes(stored.tobytes(order="F"))
    return folder / f"{name}.img"


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("named", ["a.hdr", "a.img"])
def test_a_pair_of_nifti_has_its_place(kind: Any, named: str, tmp_path: Path) -> None:
    nib.save(kind(VOXELS, AFFINE), tmp_path / "a.img")
    source = tmp_path / named
    assert format_of(source).name == "NIfTI or Analyze pair"
    image, grid = read_image(source), read_grid(source)
    np.testing.assert_array_equal(image[0], VOXELS)
    assert grid.affine is not None
    np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    label: Any = nib.load(write_label(VOXELS > 0, source, tmp_path / "out", ["background", "a"]))
    assert Path(label.get_filename()).name == "a.nii.gz"
    np.testing.assert_array_equal(np.asarray(label.dataobj), VOXELS > 0)
    np.testing.assert_allclose(label.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("named", ["b.hdr.gz", "b.IMG"])
def test_files_that_are_packed_or_called_in_capitals(named: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "a.img")
    (tmp_path / "b.hdr.gz").write_bytes(gzip.compress((tmp_path / "a.hdr").read_bytes()))
    (tmp_path / "b.IMG").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    np.testing.assert_array_equal(read_image(tmp_path / named)[0], VOXELS)


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize(
    ("fields", "origin", "scale"),
    [
        ({}, [4, -7.5, -6], 1),
        ({"origin": [2, 3, 4]}, [2, -6, -12], 1),
        ({"origin": [200, 3, 4]}, [4, -7.5, -6], 1),  # nowhere near
        ({"scl_slope": 0.5}, [4, -7.5, -6], 0.5),
        ({"cal_max": 50.0, "glmax": 100}, [4, -7.5, -6], 0.5),
    ],
)
def test_analyze_is_taken_as_nibabel_takes_it(
    endianness: str,
    fields: dict[str, Any],
    origin: list[float],
    scale: float,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forget_remarks()
    source = analyze(tmp_path, endianness=endianness, **fields)
    with caplog.at_level(logging.WARNING):
        image = read_image(source)
    expected: Any = nib.load(source)
    np.testing.assert_allclose(image[0], expected.get_fdata())
    np.testing.assert_allclose(image[0], VOXELS * scale)
    np.testing.assert_allclose(image.affine, expected.affine)
    np.testing.assert_allclose(image.affine[:3, 3], origin)
    np.testing.assert_array_equal(image.affine[:3, :3], MIDDLE[:3, :3])
    (told,) = caplog.messages
    assert "a.hdr: Analyze 7.5 does not say which way is left; the first axis is taken to run from right to" in told
    assert ("its values are taken times 0.5 plus 0" in told) == (scale != 1)
    label: Any = nib.load(write_label(VOXELS > 0, source, tmp_path / "out"))
    np.testing.assert_allclose(label.affine, expected.affine)


def test_analyze_placed_by_spm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    forget_remarks()
    source = analyze(tmp_path)
    from_one = np.eye(4)
    from_one[:3, 3] = -1  # MATLAB counts from 1
    scipy.io.savemat(tmp_path / "a.mat", {"mat": AFFINE @ from_one})
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(read_image(source).affine, AFFINE, atol=1e-5)
    assert "it is placed by a.mat" in caplog.text


def test_a_pair_is_one_case(tmp_path: Path) -> None:
    analyze(tmp_path / "images")
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "images" / "b.c.img")
    assert [path.name for path in image_files(tmp_path / "images")] == ["a.img", "b.c.img"]
    assert list_images(tmp_path / "images" / "a.hdr") == [{"image": str(tmp_path / "images" / "a.hdr")}]
    for name in ("a", "b.c"):
        analyze(tmp_path / "labels", name)
    cases = read_layout(str(tmp_path)).splits["training"]
    assert [(Path(case["image"]).name, Path(case["label"]).name) for case in cases] == [
        ("a.img", "a.img"),
        ("b.c.img", "b.c.img"),
    ]
    assert case_name("x/b.c.img") == case_name("x/b.c.hdr.gz") == "b.c"


def test_a_pair_that_is_listed_by_both_of_its_names(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        analyze(tmp_path / name)
    entries = [{"image": f"images/a{suffix}", "label": "labels/a.img"} for suffix in (".img", ".hdr")]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    with pytest.raises(InputError, match="2 images are listed more than once, or are one file under several names"):
        read_layout(str(tmp_path / "list.json"))
    (tmp_path / "list.json").write_text(json.dumps({"training": entries[1:]}))
    assert len(read_layout(str(tmp_path / "list.json")).splits["training"]) == 1


def test_pairs_with_one_header_are_not_one_image(tmp_path: Path) -> None:
    first, second = analyze(tmp_path), analyze(tmp_path, "b")
    assert file_digest(first) == file_digest(second)
    second.write_bytes(bytes(second.stat().st_size))
    headers = [path.with_suffix(".hdr") for path in (first, second)]
    assert headers[0].read_bytes() == headers[1].read_bytes()
    assert file_digest(headers[0]) != file_digest(headers[1])
    before = file_digest(first)
    first.with_suffix(".mat").write_bytes(b"a place by SPM")
    assert file_digest(first) != before
    for name, value in (("c", b"\0"), ("d", b"\1")):
        (tmp_path / name).mkdir()
        fields = {"NDims": 3, "DimSize": "2 3 4", "ElementType": "MET_UCHAR", "ElementDataFile": "a.raw"}
        (tmp_path / name / "a.mhd").write_text("".join(f"{key} = {text}\n" for key, text in fields.items()))
        (tmp_path / name / "a.raw").write_bytes(value * 24)
    assert file_digest(tmp_path / "c" / "a.mhd") != file_digest(tmp_path / "d" / "a.mhd")


def without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def with_other_header(folder: Path) -> None:
    (folder / "a.hdr").write_text("ENVI\nsamples = 5\n")


def cut(folder: Path) -> None:
    (folder / "a.img").write_bytes((folder / "a.img").read_bytes()[:-2])


@pytest.mark.parametrize(
    ("change", "named", "words"),
    [
        (without("a.hdr"), "a.img", r"a\.img: its header, a\.hdr, is missing; expected it beside the voxels"),
        (without("a.img"), "a.hdr", r"a\.hdr: the file of its voxels, a\.img, is missing; expected it beside the"),
        (with_other_header, "a.img", r"a\.img: its header, a\.hdr, is none of NIfTI or Analyze"),
        (with_other_header, "a.hdr", r"a\.hdr: cannot be read \(its content is none of .*expected a complete"),
        (cut, "a.img", r"a\.img: cannot be read .*expected a complete NIfTI or Analyze pair"),
    ],
)
def test_a_file_without_its_partner(change: Any, named: str, words: str, tmp_path: Path) -> None:
    analyze(tmp_path)
    change(tmp_path)
    with pytest.raises(InputError, match=rf"^[^\n]*{words}[^\n]*$"):
        read_image(tmp_path / named)


def test_other_content_that_is_called_img(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.img", np.zeros((3, 4), np.uint16), (0, 0, 0))
    assert format_of(tmp_path / "a.img").name == "DICOM"
    source = analyze(tmp_path, "b")
    source.write_bytes(b"BM" + source.read_bytes()[2:])  # voxels that begin as BMP does
    assert read_image(source).shape == (1, 5, 6, 4)
