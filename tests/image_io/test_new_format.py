"""A format is one class and one line of the registry: all that reads, lists and writes images then knows it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

import leaf_seg.image_io as image_io
from leaf_seg.data.layouts import read_layout
from leaf_seg.image_io import formats
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.meta_tensor import as_meta_tensor
from leaf_seg.image_io.png import Png
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.load_case import LoadCase

AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])
VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


class Toy(ImageFormat):
    """Volumes [X, Y, Z]: a mark, the affine as a line of JSON, and NumPy's own format."""

    name = "Toy"
    suffixes = (".toy", ".toy.x")

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"TOY")

    def check_header(self, path: PathLike) -> None:
        if self.grid(path).shape[0] > 3:
            raise InputError("too broad a toy; expected 3 voxels. Cut it.")

    def grid(self, path: PathLike) -> Grid:
        array, affine = self._load(path)
        return Grid(array.shape[:3], affine)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        array, affine = self._load(path)
        return as_meta_tensor(array, path, affine)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        assert affine is not None
        stream = io.BytesIO()
        np.save(stream, array)
        Path(path).write_bytes(b"TOY" + json.dumps(affine.tolist()).encode() + b"\n" + stream.getvalue())

    def result_suffix(self, source: PathLike) -> str:
        return ".toy"

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        self.create(label, path, self.grid(source).affine)

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        self.create(values.astype(np.float32), path, self.grid(source).affine)

    def _load(self, path: PathLike) -> tuple[np.ndarray, np.ndarray]:
        affine, _, array = Path(path).read_bytes().removeprefix(b"TOY").partition(b"\n")
        return np.load(io.BytesIO(array)), np.array(json.loads(affine))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    form = Toy()
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, form))
    return form


@pytest.fixture
def source(toy: Toy, tmp_path: Path) -> Path:
    path = tmp_path / "images" / "a.toy"
    path.parent.mkdir()
    image_io.write_image(VOXELS, path, AFFINE)
    return path


def test_it_is_found_and_read(toy: Toy, source: Path) -> None:
    assert image_io.format_of(source) is toy
    assert image_io.format_of(source.rename(source.with_name("a.png"))) is toy
    image = LoadCase("image")({"image": str(source.with_name("a.png"))})["image"]
    np.testing.assert_array_equal(image[0], VOXELS)
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image_io.read_grid(source.with_name("a.png")).spacing == (0.5, 0.5, 2)


def test_it_is_listed(source: Path, tmp_path: Path) -> None:
    source.rename(source.with_name("b.toy.x"))
    assert image_io.list_images(source.parent) == [{"image": str(source.with_name("b.toy.x"))}]
    assert image_io.case_name("x/b.toy.x") == "b"
    (tmp_path / "labels").mkdir()
    image_io.write_image(VOXELS.astype(np.uint8), tmp_path / "labels" / "b.toy", AFFINE)
    (case,) = read_layout(str(tmp_path)).splits["training"]
    CheckPair(num_classes=60)(LoadCase()(case))


def test_results_are_written_in_it(source: Path, tmp_path: Path) -> None:
    label = (VOXELS % 2).astype(np.uint8)
    probabilities = torch.rand(2, *VOXELS.shape)
    writer = SegmentationWriter(tmp_path / "out", ["background", "block"], save_probabilities=True)
    item = {"pred": label[None], "probabilities": probabilities, "entropy": probabilities[:1]}
    writer.save(str(source), item)
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["a.toy", "overlays/a.png", "probabilities/a_probabilities.toy", "uncertainty/a_entropy.toy"]
    written = image_io.read_image(tmp_path / "out" / "a.toy", is_label=True)
    np.testing.assert_array_equal(written[0], label)
    np.testing.assert_array_equal(written.affine, AFFINE)


def test_messages_know_it(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected files ending in .*\.nii, .*\.toy, \.toy\.x"):
        image_io.list_images(tmp_path)
    with pytest.raises(InputError, match=r"images/ and labels/ .*\.toy"):
        read_layout(str(tmp_path))
    toy.create(np.zeros((4, 4, 4)), tmp_path / "broad.toy", AFFINE)
    with pytest.raises(InputError, match=r"broad\.toy: too broad a toy; expected 3 voxels"):
        image_io.read_image(tmp_path / "broad.toy")
    (tmp_path / "bad.toy").write_bytes(b"TOY[")
    with pytest.raises(InputError, match=r"bad\.toy: cannot be read \(EOFError.*expected a complete Toy file"):
        image_io.read_image(tmp_path / "bad.toy")


def test_the_suffix_chooses_where_content_fits_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Variant(Png):
        name = "Variant"
        suffixes = (".variant",)

    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, Variant()))
    for name, expected in (("a.variant", "Variant"), ("a.png", "PNG"), ("a.jpg", "PNG")):
        (tmp_path / name).write_bytes(Png.signatures[0])
        assert image_io.format_of(tmp_path / name).name == expected
