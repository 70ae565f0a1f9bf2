"""What is segmented is written without an engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from leaf_seg.image_io import read_image
from leaf_seg.inference.segmentation_writer import SegmentationWriter
from leaf_seg.runtime.errors import InputError
from leaf_seg.visual.overlay import CLASS_COLOURS

CLASSES = ["background", "cell"]
ITEM = {"pred": np.eye(6, dtype=np.uint8)[None], "entropy": np.full((1, 6, 6), np.log(2))}


def picture(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6)).save(path)
    return str(path)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_files_of_a_case_and_what_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = picture(tmp_path / "a.png")
    writer = SegmentationWriter(tmp_path / "out", CLASSES)
    writer.begin([source])
    writer.save(source, ITEM)
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        writer.tell()
    assert files(tmp_path / "out") == ["a.png", "overlays/a.png", "uncertainty/a_entropy.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), ITEM["pred"][0])
    assert np.asarray(Image.open(tmp_path / "out" / "uncertainty" / "a_entropy.png")).min() == 65535
    assert caplog.messages == [
        f"1 label maps: {tmp_path / 'out'}",
        f"overlays to look at: {tmp_path / 'out' / 'overlays'}",
    ]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    first, second = (picture(tmp_path / folder / "a.png") for folder in ("x", "y"))
    writer = SegmentationWriter(tmp_path / "out", CLASSES, save_overlays=False)
    with pytest.raises(InputError, match=r"x/a\.png and .*y/a\.png would both be written as case 'a'"):
        writer.begin([first, second])
    assert files(tmp_path / "out") == []
    writer.begin()
    writer.save(first, ITEM)
    with pytest.raises(InputError, match="would both be written"):
        writer.save(second, ITEM)  # also one that was not known to come
    writer.begin()
    writer.save(second, ITEM)


def test_axis_and_window_are_checked_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="axis is 'up'"):
        SegmentationWriter(tmp_path, CLASSES, axis="up")
    with pytest.raises(InputError, match="intensity window"):
        SegmentationWriter(tmp_path, CLASSES, window=[3, 1])


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write to the output folder"):
        SegmentationWriter(tmp_path / "file" / "out", CLASSES).begin()


def test_probability_maps_of_two_cases_that_would_have_one_name(tmp_path: Path) -> None:
    """The class b_c of the case a, and the class c of the case a_b."""
    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "a_b.png")]
    names = ["background", "b c", "c"]
    writer = SegmentationWriter(tmp_path / "out", names, save_probabilities=True, save_overlays=False)
    with pytest.raises(InputError, match=r"a\.png and .*a_b\.png would both be written as files of the same names"):
        writer.begin(sources)
    SegmentationWriter(tmp_path / "out", names, save_overlays=False).begin(sources)


@pytest.mark.parametrize("place", [".", "overlays", "uncertainty", "probabilities"])
@pytest.mark.parametrize("is_link", [False, True])
def test_images_where_results_would_be_written(tmp_path: Path, place: str, is_link: bool) -> None:
    """Also a JPEG, whose label map is called otherwise than it, and a link to an image there."""
    (tmp_path / "out").mkdir()
    folder = tmp_path / "out" / place
    source = picture(folder / "a.jpg")
    if is_link:
        link = tmp_path / "links" / "a.jpg"
        link.parent.mkdir()
        link.symlink_to(source)
        source = str(link)
    before = files(tmp_path)
    writer = SegmentationWriter(tmp_path / "out", CLASSES, save_probabilities=True)
    with pytest.raises(InputError, match=r"a\.jpg lies in .*expected an output folder other than"):
        writer.begin([source])
    writer.begin()
    with pytest.raises(InputError, match=r"a\.jpg lies in"):
        writer.save(source, ITEM)
    assert files(tmp_path) == before


def test_folders_that_are_not_written_to_may_hold_images(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    sources = [picture(tmp_path / "out" / "overlays" / "a.png")]
    SegmentationWriter(tmp_path / "out", CLASSES, save_overlays=False).begin(sources)


def test_name_that_is_too_long_for_results(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file may have such a name; that of its probability map would be longer."""
    long, other = picture(tmp_path / ("é" * 123 + ".png")), picture(tmp_path / "b.png")
    writer = SegmentationWriter(tmp_path / "out", CLASSES, save_probabilities=True, save_overlays=False)
    writer.begin([long, other])
    item = {"pred": ITEM["pred"], "probabilities": np.full((2, 6, 6), 0.5, np.float32)}
    writer.save(long, item)
    writer.save(other, item)
    writer.tell()
    assert "its name is too long" in caplog.text
    assert len(files(tmp_path / "out")) == 3, "those of b.png"


def test_empty_name_of_the_output_folder() -> None:
    with pytest.raises(InputError, match="name of the output folder is empty"):
        SegmentationWriter("", CLASSES)


def test_expected_dice_of_all_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The lowest come first; a table of former segmentations does not stay."""
    sources = [picture(tmp_path / f"{name}.png") for name in "abcd"]
    writer = SegmentationWriter(tmp_path / "out", ["background", "cell", "nucleus"], save_overlays=False)
    for values in ([(0.9, 0.8), (0.2, 0.4), (0.5, 0.5), (1.0, 1.0)], [(0.25, 0.75)]):
        writer.begin(sources)
        assert not (tmp_path / "out" / "expected_dice.csv").exists()
        for source, expected in zip(sources, values, strict=False):
            writer.save(source, {**ITEM, "expected_dice": expected})
        with caplog.at_level(logging.INFO, logger="leaf_seg"):
            writer.tell()
        table = (tmp_path / "out" / "expected_dice.csv").read_text().splitlines()
        assert table[0] == "case,expected_dice,expected_dice_cell,expected_dice_nucleus"
        assert len(table) == 1 + len(values)
        if len(values) == 4:
            assert table[1:3] == ["b,0.3000,0.2000,0.4000", "c,0.5000,0.5000,0.5000"]
            assert "expected Dice (b 0.300, c 0.500, a 0.850, lowest of all): " in caplog.messages[-1]
    assert table[1] == "a,0.5000,0.2500,0.7500"
    assert "expected Dice (a 0.500): " in caplog.messages[-1]


@pytest.mark.parametrize("colours", [None, [(9, 9, 9), (0, 0, 255), (1, 2, 3)]])
def test_label_maps_in_colours(colours: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The index of a pixel is its class, also for our own reader; viewers show the colours of overlays."""
    names = ["background", "cell", "nucleus"]
    pred = np.arange(36).reshape(6, 6) % 3
    source, volume = picture(tmp_path / "a.png"), str(tmp_path / "b.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), volume)
    writer = SegmentationWriter(tmp_path / "out", names, save_overlays=False, save_colors="true", label_colors=colours)
    writer.begin([source, volume])
    writer.save(volume, {"pred": np.zeros((1, 2, 3, 4), np.uint8)})
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        writer.tell()
        writer.save(source, {"pred": pred[None]})
        writer.tell()
    assert files(tmp_path / "out") == ["a.png", "b.nii.gz", "colors/a.png"]
    assert "no label maps in colours: volumes have no palettes" in caplog.text
    assert f"label maps in colours: {tmp_path / 'out' / 'colors'}" in caplog.messages
    path = tmp_path / "out" / "colors" / "a.png"
    np.testing.assert_array_equal(read_image(path, is_label=True)[0], pred)
    expected = [to_rgb(colour) for colour in ("black", *CLASS_COLOURS[:2])]
    shown = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(shown, np.rint(np.array(colours or np.multiply(expected, 255)))[pred])


def test_coloured_label_maps_of_many_classes(tmp_path: Path) -> None:
    names = [f"class {value}" for value in range(256)]
    source = tmp_path / "a.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(source)
    pred = np.arange(256).reshape(16, 16)
    writer = SegmentationWriter(tmp_path / "out", names, save_overlays=False, save_colors=True)
    writer.save(str(source), {"pred": pred[None]})
    path = tmp_path / "out" / "colors" / "a.png"
    np.testing.assert_array_equal(read_image(path, is_label=True)[0], pred)
    assert len({tuple(colour) for colour in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}) > 200


def test_coloured_label_map_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = picture(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "colors").write_text("in the way")
    SegmentationWriter(tmp_path / "out", CLASSES, save_overlays=False, save_colors=True).save(source, ITEM)
    assert "The coloured label map of" in caplog.text
    assert (tmp_path / "out" / "a.png").is_file()
