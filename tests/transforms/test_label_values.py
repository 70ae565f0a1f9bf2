from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.data import ModelSettings
from leaf_seg.image_io.tiff_stack import TiffStack
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import LabelValues, MaskValue, preprocessing
from leaf_seg.transforms.load_case import LoadCase

pytestmark = pytest.mark.odd_input

NUMBERS = np.zeros((4, 6), np.uint8)  # of two classes
NUMBERS[1:3, 2:5] = 1
THREE = NUMBERS.copy()
THREE[3, 5] = 2
COLOURS = {"sky": [0, 0, 255], "road": [128, 64, 128], "car": [255, 255, 255]}
NAMES = ["background", "disc", "cup"]
AFFINE = np.diag([-0.8, 1.2, 2.5, 1.0])


def settings(num_classes: int = 2, **coding: Any) -> ModelSettings:
    return ModelSettings(NAMES[:num_classes], (32, 32), **coding)


def read(label: Any, of: ModelSettings, mask_value: MaskValue | None = None) -> np.ndarray:
    """Numbers as the preprocessing of a training gives them, of one file or of several."""
    files = label if isinstance(label, list) else [label]
    image = Path(files[0]).parent / "image.png"
    if str(files[0]).endswith(".nii.gz"):
        image = image.with_suffix(".nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(nib.Nifti1Image.from_filename(files[0]).shape), np.eye(4)), image)
    else:
        Image.new("L", Image.open(files[0]).size).save(image)
    case = preprocessing(of, "native", mask_value=mask_value)({"image": str(image), "label": label})
    assert case["label"].dtype.is_floating_point
    return case["label"].numpy()


def refused(label: Any, of: ModelSettings, mask_value: MaskValue | None = None) -> str:
    """The message."""
    with pytest.raises(RuntimeError) as error:  # MONAI's, around ours
        read(label, of, mask_value)
    assert isinstance(error.value.__cause__, InputError)
    return str(error.value.__cause__)


def saved(file: Path, values: np.ndarray, mode: str | None = None, **options: Any) -> str:
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(file, **options)
    return str(file)


def coloured(numbers: np.ndarray) -> np.ndarray:
    return np.array(list(COLOURS.values()), np.uint8)[numbers]


def palette(file: Path, colours: list[int], numbers: np.ndarray = NUMBERS) -> str:
    picture = Image.fromarray(numbers)
    picture.putpalette(colours)
    picture.save(file)
    return str(file)


def volume(file: Path, numbers: np.ndarray, slope: float = 1.0) -> str:
    image = nib.Nifti1Image(np.repeat(numbers[..., None], 3, axis=2), np.eye(4))
    image.header.set_slope_inter(slope, 0)
    nib.save(image, file)
    return str(file)


MASKS: dict[str, Callable[[Path], str]] = {
    "0 and 1": lambda folder: saved(folder / "a.png", NUMBERS),
    "0 and 255": lambda folder: saved(folder / "a.png", NUMBERS * 255),
    "one bit": lambda folder: saved(folder / "a.png", NUMBERS * 255, "1"),
    "16 bits": lambda folder: saved(folder / "a.png", NUMBERS.astype(np.uint16) * 65535),
    "equal channels": lambda folder: saved(folder / "a.png", np.dstack([NUMBERS * 255] * 3)),
    "equal channels, opaque": lambda folder: saved(folder / "a.png", NUMBERS * 255, "RGBA"),
    "colours of numbers": lambda folder: saved(folder / "a.png", np.dstack([NUMBERS] * 3)),
    "palette of 0 and 255": lambda folder: palette(folder / "a.png", list(range(256)) * 3, NUMBERS * 255),
    "TIFF": lambda folder: saved(folder / "a.tif", NUMBERS * 255),
    "TIFF of LZW": lambda folder: saved(folder / "a.tif", NUMBERS * 255, compression="tiff_lzw"),
    "volume": lambda folder: volume(folder / "a.nii.gz", NUMBERS),
    "volume of 255": lambda folder: volume(folder / "a.nii.gz", NUMBERS * 255),
    "volume of floats": lambda folder: volume(folder / "a.nii.gz", NUMBERS * np.float32(0.9999)),
    "volume scaled": lambda folder: volume(folder / "a.nii.gz", NUMBERS * np.uint8(255), slope=1 / 255),
    "volume off by 1e-6": lambda folder: volume(folder / "a.nii.gz", NUMBERS - 1e-6),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_one_class(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "leaf_seg")
    values = read(MASKS[kind](tmp_path), settings())
    expected = np.repeat(NUMBERS[..., None], 3, axis=2) if values.ndim == 4 else NUMBERS
    assert np.array_equal(values, expected[None])
    assert values.max() == 1
    is_scaled = kind in {key for key in MASKS if "255" in key or "16" in key or "TIFF" in key or "equal" in key}
    assert ("is read as 1" in caplog.text) == is_scaled


def test_all_masks_of_a_data_set_are_read_in_one_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "leaf_seg")
    files = [saved(tmp_path / f"{value}.png", NUMBERS * value) for value in (0, 255, 1)]
    shared = MaskValue()
    for file in [*files[:2], files[1]]:
        read(file, settings(), shared)
    assert caplog.text.count("Masks of this data set hold 0 and 255; 255 is read as 1") == 1
    message = refused(files[2], settings(), shared)
    assert message.startswith(f"Label {files[2]} holds 0 and 1, and {files[1]} holds 0 and 255; expected the same")


@pytest.mark.parametrize(
    ("values", "num_classes", "words"),
    [
        (NUMBERS * 255, 3, r"holds the values 0, 255; .*Masks of 0 and 255 are read where there are two classes"),
        (NUMBERS * 128, 2, "A mask stored as 0 and 128"),
        (NUMBERS * 200 + np.arange(6, dtype=np.uint8), 2, "expected 0 .*, 1"),
        (np.dstack([NUMBERS, NUMBERS, NUMBERS * 0]), 2, "3 channels with different values; .*label_colors"),
    ],
)
def test_what_is_no_mask_stays_refused(tmp_path: Path, values: np.ndarray, num_classes: int, words: str) -> None:
    assert re.search(words, refused(saved(tmp_path / "a.png", values), settings(num_classes)))


@pytest.mark.parametrize("off", [0.002, 0.5])
def test_fractions_stay_refused(tmp_path: Path, off: float) -> None:
    message = refused(volume(tmp_path / "a.nii.gz", NUMBERS - np.float32(off) * NUMBERS), settings())
    assert "use nearest neighbours" in message


@pytest.mark.parametrize("colours", [COLOURS, list(COLOURS.values())], ids=["names", "list"])
def test_colours_by_a_table(tmp_path: Path, colours: Any) -> None:
    of = settings(3, label_colors=colours)
    assert np.array_equal(read(saved(tmp_path / "a.png", coloured(THREE)), of), THREE[None])
    listed = [value for colour in COLOURS.values() for value in colour]
    assert np.array_equal(read(palette(tmp_path / "b.png", listed, THREE), of), THREE[None])
    assert np.array_equal(read(saved(tmp_path / "c.png", coloured(THREE), "RGBA"), of), THREE[None])


def test_grey_values_by_a_table(tmp_path: Path) -> None:
    of = settings(3, label_colors=[[255, 255, 255], [128, 128, 128], [0, 0, 0]])
    file = saved(tmp_path / "a.bmp.png", np.array([255, 128, 0], np.uint8)[THREE])
    assert np.array_equal(read(file, of), THREE[None])


def test_a_colour_that_is_not_in_the_table(tmp_path: Path) -> None:
    values = coloured(THREE)
    values[2, 1:3] = [7, 8, 9]
    message = refused(saved(tmp_path / "a.png", values), settings(3, label_colors=COLOURS))
    assert message.startswith(
        f"Label {tmp_path}/a.png: the colour [7, 8, 9] of 2 pixels, the first at row 2, column 1,"
    )
    values[0, 0] = [1, 1, 1]
    assert "1 more colours are unknown" in refused(saved(tmp_path / "a.png", values), settings(3, label_colors=COLOURS))


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("first", [0, 1], ids=["with background", "without"])
def test_a_file_for_each_class(tmp_path: Path, scale: int, first: int) -> None:
    files = [
        saved(tmp_path / f"{number}.png", np.equal(THREE, number).astype(np.uint8) * np.uint8(scale))
        for number in range(first, 3)
    ]
    assert np.array_equal(read(files, settings(3, label_encoding="one_hot")), THREE[None])


def test_an_empty_mask_among_those_of_a_case(tmp_path: Path) -> None:
    files = [saved(tmp_path / "1.png", NUMBERS * 255), saved(tmp_path / "2.png", NUMBERS * 0)]
    assert np.array_equal(read(files, settings(3, label_encoding="one_hot")), NUMBERS[None])


def test_channels_of_a_picture_as_classes(tmp_path: Path) -> None:
    channels = np.dstack([np.equal(THREE, number).astype(np.uint8) * np.uint8(255) for number in range(3)])
    assert np.array_equal(read(saved(tmp_path / "a.png", channels), settings(3, label_encoding="one_hot")), THREE[None])


def test_probabilities(tmp_path: Path) -> None:
    disc, cup = 0.3 + 0.4 * (THREE == 1), 0.2 + 0.5 * (THREE == 2) - 0.1 * (THREE == 1)
    of = settings(3, label_encoding="probability")
    files = [saved(tmp_path / f"{i}.png", np.rint(v * 255).astype(np.uint8)) for i, v in enumerate((disc, cup))]
    assert np.array_equal(read(files, of), THREE[None])
    volumes = [
        volume(tmp_path / f"{i}.nii.gz", v.astype(np.float32)) for i, v in enumerate((1 - disc - cup, disc, cup))
    ]
    assert np.array_equal(read(volumes, of)[..., 1], THREE[None])


@pytest.mark.parametrize(
    ("make", "encoding", "words"),
    [
        (lambda n: [n == 1, n > 0], "one_hot", "1 pixels are in several masks, at (3, 5) in those of disc and cup"),
        (lambda n: [n == 0, n == 1, n == 3], "one_hot", "1 pixels are in no mask"),
        (lambda n: [n == 1], "one_hot", "1 channels or files, and label_encoding is one_hot; expected 2"),
        (lambda n: [n == 1, n == 2], "index", "2 channels with different values"),
        (lambda n: [n * 255 > 0, n * 255 > 1], "probability", "sums over the classes go from 0 to 2; expected 0 to 1"),
    ],
)
def test_channels_that_do_not_fit(tmp_path: Path, make: Any, encoding: str, words: str) -> None:
    numbers = THREE if "several" not in words else np.where(THREE == 2, 2, 0) + 0 * THREE
    masks = make(numbers)
    if "several" in words:
        masks[0] = masks[0] | (numbers == 2)
    files = [saved(tmp_path / f"{i}.png", mask.astype(np.uint8) * np.uint8(255)) for i, mask in enumerate(masks)]
    assert words in refused(files, settings(3, label_encoding=encoding))


@pytest.mark.parametrize("with_background", [False, True])
@pytest.mark.parametrize("encoding", ["one_hot", "probability"])
@pytest.mark.parametrize("name", ["label.nii.gz", "label.tif"])
def test_a_channel_for_each_class_of_a_volume(name: str, encoding: str, with_background: bool, tmp_path: Path) -> None:
    """One file [X, Y, Z, K], in which probabilities are floats."""
    numbers = np.stack([THREE, NUMBERS, 0 * NUMBERS], axis=-1)
    masks = np.stack([numbers == number for number in (0, 1, 2)][0 if with_background else 1 :], axis=-1)
    values = masks.astype(np.uint8) if encoding == "one_hot" else (0.8 * masks + 0.2 / 3).astype(np.float32)
    if name == "label.tif":
        TiffStack().create(values, tmp_path / name, np.diag([-1.0, -1, 1, 1]))
        TiffStack().create(numbers, tmp_path / "image.tif", np.diag([-1.0, -1, 1, 1]))
        image = tmp_path / "image.tif"
    else:
        nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / name)
        image = tmp_path / "image.nii.gz"
        nib.save(nib.Nifti1Image(numbers, AFFINE), image)
    of = settings(3, label_encoding=encoding, tiff_stack=name == "label.tif")
    case = preprocessing(of, "native")({"image": str(image), "label": str(tmp_path / name)})
    np.testing.assert_array_equal(case["label"], numbers[None])
    with pytest.raises(RuntimeError) as error:
        preprocessing(replace(of, label_encoding="index"), "native")(
            {"image": str(image), "label": str(tmp_path / name)}
        )
    assert f"{len(masks[0, 0, 0])} channels with different values" in str(error.value.__cause__)


def test_files_of_one_label_of_several_sizes(tmp_path: Path) -> None:
    files = [saved(tmp_path / "1.png", NUMBERS), saved(tmp_path / "2.png", NUMBERS[:3])]
    assert "2.png are of one label and differ in size" in refused(files, settings(3, label_encoding="one_hot"))


def test_a_palette_that_shows_the_opposite_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = palette(tmp_path / "a.png", [255, 255, 255, 0, 0, 0])
    transform = LabelValues("label", settings())
    for _ in range(2):
        assert np.array_equal(transform(LoadCase("label")({"label": file}))["label"], NUMBERS[None])
    assert caplog.text.count("is a palette picture that shows 0 in white and 1 in black") == 1


@pytest.mark.parametrize(
    ("coding", "words"),
    [
        ({"label_encoding": "onehot"}, "label_encoding is 'onehot'; expected one of index, one_hot, probability"),
        ({"label_colors": [[0, 0, 0], [0, 0, 300]]}, "label_colors is"),
        ({"label_colors": [[0, 0, 0], [0, 0, 0]]}, r"has the colour \[0, 0, 0\] twice"),
        ({"label_colors": COLOURS}, "label_colors has 3 colours, and there are 2 classes"),
        ({"label_colors": [[0, 0, 0], [1, 1, 1]], "label_encoding": "one_hot"}, "expected one of them"),
    ],
)
def test_settings_that_do_not_fit(coding: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**coding)


def test_settings_are_kept_as_json_and_only_where_needed() -> None:
    assert not {"label_encoding", "label_colors"} & set(settings().to_dict())
    kept = settings(3, label_colors=COLOURS).to_dict()
    assert ModelSettings(**kept).label_colors == ((0, 0, 255), (128, 64, 128), (255, 255, 255))
    assert ModelSettings(**settings(label_encoding="one_hot").to_dict()).label_encoding == "one_hot"


def test_a_mask_of_one_bit_by_a_table(tmp_path: Path) -> None:
    label = saved(tmp_path / "a.png", (NUMBERS * 255).astype(np.uint8), mode="1")
    found = read(label, settings(label_colors=[[0, 0, 0], [255, 255, 255]]))
    np.testing.assert_array_equal(found, NUMBERS[None])
