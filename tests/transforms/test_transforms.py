from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, NibabelReader, PILReader
from PIL import Image

from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.scale_image import ScaleImage

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4)  # 3 rows, 4 columns
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 1.2, 0.3, -20], [0, -0.2, 2.5, 5], [0, 0, 0, 1]])


def _picture(path: Path, values: np.ndarray, mode: str | None = None) -> str:
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path)
    return str(path)


def _volume(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nib.save(nib.Nifti1Image(values, affine), path)
    return str(path)


def _load(key: str, path: str) -> MetaTensor:
    return LoadCase(key)({key: path})[key]


def _sum(file: Path) -> torch.Tensor:
    return _load("image", str(file)).as_tensor().sum()


class TestLoadCased:
    def test_pictures_have_rows_first(self, tmp_path: Path) -> None:
        image = _load("image", _picture(tmp_path / "a.png", RAMP))
        assert isinstance(image, MetaTensor)
        assert image.dtype == torch.float32
        assert np.array_equal(image.numpy(), RAMP[None])
        assert image.meta["filename_or_obj"] == str(tmp_path / "a.png")
        assert list(image.meta["spatial_shape"]) == [3, 4]

    def test_colours(self, tmp_path: Path) -> None:
        colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        expected = np.moveaxis(colours, -1, 0)
        opaque = np.dstack([colours, np.full((3, 4), 9, np.uint8)])
        assert np.array_equal(_load("image", _picture(tmp_path / "rgb.png", colours)), expected)
        assert np.array_equal(_load("image", _picture(tmp_path / "rgba.png", opaque)), expected)

    @pytest.mark.parametrize("mode", ["LA", "1"])
    def test_grey_variants_become_one_channel(self, tmp_path: Path, mode: str) -> None:
        image = _load("image", _picture(tmp_path / "a.png", RAMP * 20, mode))
        assert image.shape == (1, 3, 4)
        assert image.meta["mode"] == "L"
        assert image.max() == (255 if mode == "1" else 220)

    def test_palette_is_colours_in_images_and_indices_in_labels(self, tmp_path: Path) -> None:
        picture = Image.fromarray(RAMP % 3)
        picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        picture.save(tmp_path / "a.png")
        assert Image.open(tmp_path / "a.png").mode == "P"
        assert _load("image", str(tmp_path / "a.png"))[:, 0, 1].tolist() == [40, 50, 60]
        assert np.array_equal(_load("label", str(tmp_path / "a.png")), RAMP[None] % 3)

    def test_sixteen_bits_are_kept(self, tmp_path: Path) -> None:
        values = RAMP.astype(np.uint16) * 5000
        path = _picture(tmp_path / "a.png", values)
        assert np.array_equal(_load("image", path), values[None])
        assert np.array_equal(_load("label", path), values[None])

    def test_loaders_of_monai_label_ask_for_metadata_too(self, tmp_path: Path) -> None:
        path = _volume(tmp_path / "a.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
        transform = LoadCase("image")
        transform._loader.image_only = False
        assert torch.equal(transform({"image": path})["image"], _load("image", path))

    @pytest.mark.parametrize("image_only", [True, False])
    def test_a_reader_reads_in_place_of_the_format(self, tmp_path: Path, image_only: bool) -> None:
        transform = LoadCase("image")
        transform._loader.image_only = image_only
        path = _picture(tmp_path / "a.png", RAMP)
        image = transform({"image": path}, PILReader(reverse_indexing=True))["image"]
        assert np.array_equal(image.numpy(), RAMP.T[None])
        assert list(image.meta["spatial_shape"]) == [4, 3]
        (tmp_path / "b.png").write_bytes(Path(path).read_bytes()[:45])
        with pytest.raises(InputError, match=r"b\.png: cannot be read .* expected a complete PNG file"):
            transform({"image": str(tmp_path / "b.png")}, PILReader())

    def test_a_reader_does_not_pass_by_the_checks_of_the_format(self, tmp_path: Path) -> None:
        """What a library leaves out: sums of a PNG's pixels, strips of a TIFF, the sum of a file that is packed."""
        png, tiff = Path(_picture(tmp_path / "a.png", RAMP)), Path(_picture(tmp_path / "b.tif", RAMP))
        volume = Path(_volume(tmp_path / "c.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
        readers = {png: PILReader(), tiff: PILReader(), volume: NibabelReader()}
        transform = LoadCase("image")
        for file, reader in readers.items():
            found = transform({"image": str(file)}, reader)["image"]
            assert found.sum() == _load("image", str(file)).sum()
        damaged = bytearray(png.read_bytes())
        damaged[damaged.rindex(b"IEND") - 5] ^= 1
        png.write_bytes(damaged)
        with Image.open(tiff) as picture:
            start = picture.tag_v2[273][0]  # type: ignore[attr-defined]  # of its only strip
        tiff.write_bytes(tiff.read_bytes().replace(start.to_bytes(4, "little"), (10**6).to_bytes(4, "little")))
        damaged = bytearray(volume.read_bytes())
        damaged[-8] ^= 1
        volume.write_bytes(damaged)
        for file, reader in readers.items():
            with pytest.raises(InputError, match=rf"{file.name}: .*expected a complete|{file.name}: .*checksum"):
                transform({"image": str(file)}, reader)

    def test_tiff(self, tmp_path: Path) -> None:
        colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        assert np.array_equal(_load("image", _picture(tmp_path / "a.tif", colours)), np.moveaxis(colours, -1, 0))
        values = RAMP.astype(np.uint16) * 5000
        assert np.array_equal(_load("image", _picture(tmp_path / "b.tiff", values)), values[None])

    def test_a_tiff_that_is_no_picture(self, tmp_path: Path) -> None:
        page = Image.fromarray(RAMP)
        page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
        with pytest.raises(InputError, match=r"pages.tif: a TIFF of several pages; expected one, .* --tiff_stack true"):
            _load("image", str(tmp_path / "pages.tif"))

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_tiffs_of_32_bits(self, tmp_path: Path, dtype: type) -> None:
        path = _picture(tmp_path / "deep.tif", RAMP.astype(dtype))
        image = _load("image", path)
        assert np.array_equal(image, RAMP[None])
        assert np.allclose(ScaleImage(window=(0, 11))({"image": image})["image"], RAMP[None] / 11)
        with pytest.raises(InputError, match=r"deep\.tif\) has values from 0 to 11, and nothing says"):
            ScaleImage()({"image": image})

    @pytest.mark.parametrize("mode", ["1", "LA"])
    def test_label_variants_keep_their_values(self, tmp_path: Path, mode: str) -> None:
        values = (RAMP % 2) * (255 if mode == "1" else 1)
        label = _load("label", _picture(tmp_path / "a.png", values.astype(np.uint8), mode))
        assert np.array_equal(label, RAMP[None] % 2)

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_volumes_keep_their_voxel_order_and_affine(self, tmp_path: Path, suffix: str) -> None:
        values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        image = _load("image", _volume(tmp_path / f"a{suffix}", values))
        assert np.array_equal(image.numpy(), values[None])
        assert np.allclose(image.affine, AFFINE, atol=1e-5)
        assert list(image.meta["spatial_shape"]) == [2, 3, 4]

    def test_a_missing_label_only_where_allowed(self, tmp_path: Path) -> None:
        case = {"image": _picture(tmp_path / "a.png", RAMP), "name": "a"}
        loaded = LoadCase(allow_missing_keys=True)(case)
        assert set(loaded) == {"image", "name"}
        with pytest.raises(KeyError, match="label"):
            LoadCase()(case)

    def test_other_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "a.gif").touch()
        with pytest.raises(InputError, match=r"a\.gif: the file type '\.gif' is not supported; expected one of \.png"):
            _load("image", str(tmp_path / "a.gif"))

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a\.png: does not exist"):
            _load("image", str(tmp_path / "a.png"))
        (tmp_path / "a.png").mkdir()
        with pytest.raises(InputError, match=r"a\.png: is a folder"):
            _load("image", str(tmp_path / "a.png"))

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.nii", "a.nii.gz"])
    @pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no image"])
    def test_damaged_file(self, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
        path = tmp_path / name
        values = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        _volume(path, values) if ".nii" in name else _picture(path, values)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InputError, match=rf"{name}: cannot be read .* expected a complete"):
            _load("image", str(path))

    @pytest.mark.parametrize("shape", [(2, 3, 4, 2, 3), (2, 3, 1, 1, 3, 4)])
    def test_volumes_of_other_dimension(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        path = _volume(tmp_path / "a.nii.gz", np.zeros(shape, np.float32))
        with pytest.raises(InputError, match=rf"a\.nii\.gz: a {len(shape)}D NIfTI of shape \(.*{shape[-1]}\)"):
            _load("image", path)

    @pytest.mark.parametrize(
        ("dtype", "words"),
        [(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "RGB colours"), (np.dtype("c8"), "complex numbers")],
    )
    def test_voxels_that_are_no_real_numbers(self, tmp_path: Path, dtype: np.dtype, words: str) -> None:
        path = _volume(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), dtype))
        with pytest.raises(InputError, match=words):
            _load("image", path)

    @pytest.mark.filterwarnings("ignore:overflow encountered in cast")
    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_values_that_are_not_finite(self, tmp_path: Path, value: float) -> None:
        values = np.zeros((2, 3, 4))
        values[1, 1, 1] = value
        with pytest.raises(InputError, match=r"a\.nii\.gz: 1 of 24 values are NaN or infinite"):
            _load("image", _volume(tmp_path / "a.nii.gz", values))


class TestCheckPaird:
    @staticmethod
    def _pair(tmp_path: Path, label: np.ndarray, affine: np.ndarray = AFFINE) -> dict[Any, Any]:
        image_path = _volume(tmp_path / "image.nii.gz", np.zeros((2, 3, 2), np.float32))
        return LoadCase()({"image": image_path, "label": _volume(tmp_path / "label.nii.gz", label, affine)})

    def test_a_sound_pair_passes_unchanged(self, tmp_path: Path) -> None:
        label = (np.arange(12, dtype=np.uint8) % 3).reshape(2, 3, 2)
        pair = self._pair(tmp_path, label, AFFINE + 5e-4)
        checked = CheckPair(num_classes=3)(pair)
        assert checked["label"] is pair["label"]
        assert checked["image"] is pair["image"]

    def test_sizes_differ(self, tmp_path: Path) -> None:
        words = r"Image .*image\.nii\.gz and label .*label\.nii\.gz: sizes 2 x 3 x 2 and 2 x 3 x 4"
        with pytest.raises(InputError, match=words):
            CheckPair(num_classes=3)(self._pair(tmp_path, np.zeros((2, 3, 4), np.uint8)))

    def test_picture_sizes_are_not_transposed(self, tmp_path: Path) -> None:
        case = {"image": _picture(tmp_path / "a.png", RAMP), "label": _picture(tmp_path / "b.png", RAMP.T.copy())}
        with pytest.raises(InputError, match="sizes 3 x 4 and 4 x 3"):
            CheckPair(num_classes=12)(LoadCase()(case))

    def test_affines_differ(self, tmp_path: Path) -> None:
        flipped = AFFINE @ np.diag([-1, 1, 1, 1])
        with pytest.raises(InputError, match=r"place their corners up to .* mm apart"):
            CheckPair(num_classes=3)(self._pair(tmp_path, np.zeros((2, 3, 2), np.uint8), flipped))

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([0, 255], r"holds the values 0, 255; expected .*0 to 2.*stored as 0 and 255: store it as 0 and 1"),
            ([0, 1, 2, 3], "Train with --num_classes 4"),
            ([0, 128, 255], "Renumber the classes"),
            ([0, 1, 255], "255 is often an 'ignore' mark"),
            ([0, 1, 7, 90, 200, 255], "Grey edges"),
            ([0, 0.5, 1], "use nearest neighbours"),
            ([-1, 0, 1], "Negative values"),
        ],
    )
    def test_values_that_are_no_classes(self, tmp_path: Path, values: list[float], words: str) -> None:
        label = np.resize(np.array(values, np.float32), (2, 3, 2))
        with pytest.raises(InputError, match=words):
            CheckPair(num_classes=3)(self._pair(tmp_path, label))

    def test_message_names_the_classes(self, tmp_path: Path) -> None:
        check = CheckPair(num_classes=2, class_names=["background", "spleen"])
        with pytest.raises(InputError, match=r"expected 0 \(background\), 1 \(spleen\)"):
            check(self._pair(tmp_path, np.full((2, 3, 2), 2, np.uint8)))


class TestScaleImaged:
    def test_pictures_by_the_type_of_their_file(self, tmp_path: Path) -> None:
        scale = ScaleImage("image")
        eight = _load("image", _picture(tmp_path / "a.png", RAMP * 10))
        sixteen = _load("image", _picture(tmp_path / "b.png", RAMP.astype(np.uint16) * 10))
        assert torch.allclose(scale({"image": eight})["image"], eight / 255)
        assert torch.allclose(scale({"image": sixteen})["image"], sixteen / 65535)

    def test_pictures_in_memory_by_their_type(self) -> None:
        scale = ScaleImage("image")
        assert scale({"image": torch.full((1, 2, 2), 51, dtype=torch.uint8)})["image"].max() == pytest.approx(0.2)
        assert scale({"image": torch.full((1, 2, 2), 0.3)})["image"].max() == pytest.approx(0.3)
        with pytest.raises(InputError, match=r"picture \(in memory\)"):
            scale({"image": torch.full((1, 2, 2), 51.0)})

    def test_volumes_by_percentiles_without_the_outliers(self, tmp_path: Path) -> None:
        values = np.linspace(-500, 1500, 8000, dtype=np.float32).reshape(20, 20, 20)
        values[0, 0, :5] = 1e6
        loaded = _load("image", _volume(tmp_path / "a.nii.gz", values))
        image = ScaleImage("image")({"image": loaded})["image"]
        low, high = np.percentile(values, [0.5, 99.5])
        assert np.allclose(image[0], np.clip((values - low) / (high - low), 0, 1), atol=1e-4)
        assert (float(image.min()), float(image.max())) == (0, 1)
        assert torch.equal(image.affine, loaded.affine)
        assert image.meta["filename_or_obj"] == str(tmp_path / "a.nii.gz")

    def test_scale_and_offset_of_units_do_not_matter(self) -> None:
        volume = torch.rand(1, 12, 12, 12)
        scale = ScaleImage("image")
        assert torch.allclose(scale({"image": volume})["image"], scale({"image": 40 * volume - 7})["image"], atol=1e-5)

    def test_constant_and_nearly_constant_volumes(self) -> None:
        scale = ScaleImage("image")
        assert scale({"image": torch.full((1, 4, 4, 4), 7.0)})["image"].abs().max() == 0
        speck = torch.zeros(1, 12, 12, 12)
        speck[0, 3, 3, 3] = 9
        assert scale({"image": speck})["image"].max() == 1

    @pytest.mark.parametrize("shape", [(1, 1, 5), (1, 1, 1, 5)])
    def test_window(self, shape: tuple[int, ...]) -> None:
        image = torch.tensor([-1000.0, -100, 0, 100, 1000]).reshape(shape)
        scaled = ScaleImage("image", window=[-100, 100])({"image": image})["image"]
        assert scaled.flatten().tolist() == [0, 0, 0.5, 1, 1]

    @pytest.mark.parametrize("window", [[100, -100], [0, 0], [1]])
    def test_window_that_is_not_ascending(self, window: list[float]) -> None:
        with pytest.raises(InputError, match=r"^window is"):
            ScaleImage("image", window=window)


def test_transforms_reach_the_workers_of_a_data_loader(tmp_path: Path) -> None:
    case: dict[Any, Any] = {"image": _picture(tmp_path / "a.png", RAMP), "label": _picture(tmp_path / "b.png", RAMP)}
    for transform in (LoadCase(), CheckPair(num_classes=12), ScaleImage("image")):
        case = pickle.loads(pickle.dumps(transform))(case)
    assert case["image"].max() == pytest.approx(11 / 255)
    assert set(case) == {"image", "label"}
