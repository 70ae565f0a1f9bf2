"""Prepared slices that stay for the next training: found only where they are the same, whole, and within a limit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leaf_seg.data import CaseStore, ModelSettings, SliceDataset, case_store, make_phantoms, training_slices
from leaf_seg.image_io.remarks import forget_remarks
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms import preprocessing
from leaf_seg.transforms.preprocessing import Preprocessing
from tests.data.test_slice_dataset import Cases, all_cases, pictures, volumes
from tests.faults.limited import run_limited

__all__ = ["pictures", "volumes"]  # fixtures
NAMES = ("background", "a", "b")
SIZE = (16, 24)


def prepared(cases: Cases, folder: Path, gb: float = 1, tile: float | None = None, **options: Any) -> SliceDataset:
    """A data set whose slices are kept in a folder, with settings of the model among the options."""
    settings = ModelSettings(options.pop("class_names", NAMES), options.pop("image_size", SIZE), **options)
    cut = {key: getattr(settings, key) for key in ("image_size", "axis", "num_slices", "class_names")}
    store = CaseStore(folder, gb)
    return training_slices(cases, preprocessing(settings, "prepared"), tile_overlap=tile, store=store, **cut)


def items(dataset: SliceDataset) -> dict[str, torch.Tensor]:
    """All that can be drawn."""
    samples = [dataset[item, 7] for item in range(len(dataset))]
    return {key: torch.stack([sample[key] for sample in samples]) for key in ("image", "label")}


def assert_same(one: SliceDataset, other: SliceDataset) -> None:
    assert (one.index, one.stacks, one.is_empty) == (other.index, other.stacks, other.is_empty)
    assert one.widths.widths() == other.widths.widths()
    mine, theirs = items(one), items(other)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def num_found(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of each data set since the last call: "2 of 6" cases were there."""
    lines = [line.partition(" cases were prepared before; from ") for line in caplog.messages]
    caplog.clear()
    return [number for number, found, _ in lines if found]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "leaf_seg")
    forget_remarks()


@pytest.mark.parametrize(
    "options",
    [{}, {"num_slices": 3, "axis": ["axial", "sagittal"]}, {"tile": 0.25}, {"spacing": (1.5, 1.5, 2.0)}],
    ids=["slices", "several directions", "tiles", "spacing"],
)
def test_the_second_time_all_is_as_it_was_and_nothing_is_prepared(
    options: dict[str, Any], pictures: Cases, volumes: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [*pictures, *volumes]
    first = prepared(cases, tmp_path, **options)
    said = [line for line in caplog.messages if "prepared before" not in line]
    assert num_found(caplog) == ["0 of 9"]
    second = prepared(cases, tmp_path, **options)
    assert [line for line in caplog.messages if "prepared before" not in line] == said
    assert num_found(caplog) == ["9 of 9"]
    assert_same(first, second)
    settings = ModelSettings(NAMES, SIZE, **{key: value for key, value in options.items() if key != "tile"})
    scratch = training_slices(
        cases,
        preprocessing(settings, "prepared"),
        SIZE,
        settings.axis,
        settings.num_slices,
        tile_overlap=options.get("tile"),
    )
    assert_same(first, scratch)


@pytest.mark.parametrize(
    "changed",
    [
        {"window": (0, 200)},
        {"spacing": (2.0, 2.0, 2.0)},
        {"image_size": (24, 16)},
        {"axis": "coronal"},
        {"num_slices": 3},
        {"class_names": [*NAMES, "c"]},
        {"tile": 0.1},
        {"label_colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]},
    ],
    ids=str,
)
def test_another_setting_finds_nothing(
    changed: dict[str, Any], pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared(pictures[:2], tmp_path)
    prepared(pictures[:2], tmp_path, **changed)
    assert num_found(caplog) == ["0 of 2", "0 of 2"]
    assert len(entries(tmp_path)) == 4


def test_content_counts_and_not_the_name(pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    moved = [
        {key: str(shutil.copy(file, folder / f"{number}_{key}.png")) for key, file in case.items()}
        for number, case in enumerate(pictures[:3])
    ]
    prepared(pictures[:3], tmp_path / "kept")
    prepared(moved[::-1], tmp_path / "kept", class_names=["background", "x", "y"])
    assert num_found(caplog) == ["0 of 3", "3 of 3"]
    for key, case in (("image", moved[0]), ("label", moved[1])):
        array = np.array(Image.open(case[key]))
        array[0, 0] = 1 - min(array[0, 0], 1)
        Image.fromarray(array).save(case[key])
    after = prepared(moved, tmp_path / "kept")
    assert num_found(caplog) == ["1 of 3"]
    assert_same(after, prepared(moved, tmp_path / "other"))


def test_other_code_and_other_libraries_find_nothing(
    pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaf_seg.data import case_identity

    prepared(pictures[:1], tmp_path)
    for name in ("_code_digest", "_versions", "_machine"):
        with monkeypatch.context() as patch:
            patch.setattr(case_identity, name, lambda: "another")
            prepared(pictures[:1], tmp_path)
    prepared(pictures[:1], tmp_path)
    assert num_found(caplog) == ["0 of 1"] * 4 + ["1 of 1"]


@pytest.mark.parametrize("how", ["a step more", "a class of one's own", "a function"])
def test_a_preprocessing_of_ones_own_keeps_nothing(
    how: str, pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(Preprocessing):
        pass

    made: Any = preprocessing(ModelSettings(NAMES, SIZE), "prepared")
    if how == "a step more":
        made.transforms = (*made.transforms, lambda case: case)
    elif how == "a function":
        made = made.__call__
    else:
        made = Own(made.transforms, {}, made.mask_value)
    dataset = SliceDataset(pictures, made, SIZE, store=CaseStore(tmp_path, 1))
    assert len(dataset) == 6
    assert f"Prepared slices are not kept in {tmp_path}: the preprocessing " in caplog.text
    assert not entries(tmp_path)


def test_what_files_say_of_themselves_is_said_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the first case is found, and masks of 255 are among masks of 1."""
    cases = []
    for number, value in enumerate((255, 255, 1)):
        case = {key: str(tmp_path / f"{number}_{key}.png") for key in ("image", "label")}
        Image.fromarray(np.full((20, 20), 4000 + number, np.uint16)).save(case["image"])
        Image.fromarray(np.eye(20, dtype=np.uint8) * np.uint8(value)).save(case["label"])
        cases.append(case)
    for _ in range(2):
        prepared(cases[:2], tmp_path / "kept", class_names=NAMES[:2])
        assert f"hold 0 and 255; 255 is read as 1 (as in {cases[0]['label']})." in caplog.text
        assert f"{cases[0]['image']}: its values end at 4000 of the 65535" in caplog.text
        caplog.clear()
        forget_remarks()
    prepared(cases[2:], tmp_path / "kept", class_names=NAMES[:2])
    with pytest.raises(InputError, match=r"2_label\.png holds 0 and 1, and .*0_label\.png holds 0 and 255"):
        prepared(cases, tmp_path / "kept", class_names=NAMES[:2])


def _truncated(entry: Path) -> None:
    os.truncate(entry / "000000_image.npy", 200)


def _changed(entry: Path) -> None:
    content = bytearray((entry / "000000_label.npy").read_bytes())
    content[-1] ^= 1
    (entry / "000000_label.npy").write_bytes(content)


def _missing(entry: Path) -> None:
    (entry / "000000_label.npy").unlink()


def _no_record(entry: Path) -> None:
    (entry / "entry.json").unlink()


def _half_a_record(entry: Path) -> None:
    os.truncate(entry / "entry.json", 100)


def _other_record(entry: Path) -> None:
    content = json.loads((entry / "entry.json").read_text())
    content["content"]["record"]["classes"] = []
    (entry / "entry.json").write_text(json.dumps(content))


@pytest.mark.parametrize("damage", [_truncated, _changed, _missing, _no_record, _half_a_record, _other_record])
def test_damage_is_found_and_the_case_prepared_again(
    damage: Callable[[Path], None], pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepared(pictures, tmp_path)
    before = items(first)
    damage(entries(tmp_path)[2])
    again = prepared(pictures, tmp_path)
    assert f"{entries(tmp_path)[2]} is damaged: the slices of its case are prepared again." in caplog.text
    assert num_found(caplog) == ["0 of 6", "5 of 6"]
    assert all(torch.equal(before[key], value) for key, value in items(again).items())
    prepared(pictures, tmp_path)
    assert num_found(caplog) == ["6 of 6"]


def test_an_image_that_changes_while_it_is_read_is_not_kept(
    pictures: Cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = {key: str(shutil.copy(file, tmp_path / f"{key}.png")) for key, file in pictures[0].items()}
    noted = Preprocessing.noted

    def slow(self: Preprocessing, case: dict[str, str]) -> Any:
        found = noted(self, case)
        shutil.copy(pictures[1]["image"], case["image"])
        return found

    monkeypatch.setattr(Preprocessing, "noted", slow)
    dataset = prepared([case], tmp_path / "kept")
    assert dataset[0]["image"].any()
    assert not entries(tmp_path / "kept")


def test_those_not_used_for_longest_go(pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepared(pictures[:4], tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.*") if file.is_file()) / 4e9
    assert size > 1000e-9
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.npy").write_bytes(bytes(10**6))
    for number in (2, 0, 3, 1):
        prepared([pictures[number]], tmp_path)
        for record in tmp_path.glob("*/entry.json"):  # all becomes older
            seconds = record.stat().st_mtime - 10
            os.utime(record, (seconds, seconds))
    caplog.clear()
    prepared(pictures[4:], tmp_path, gb=4.5 * size)  # two more than there is room for, with some to spare
    assert f"Removed 1 prepared cases (0.000 GB), those not used for longest, from {tmp_path} to" in caplog.text
    last = prepared([pictures[3], pictures[1]], tmp_path)
    first = prepared([pictures[2], pictures[0]], tmp_path)
    assert num_found(caplog) == ["0 of 2", "2 of 2", "0 of 2"]
    assert items(first)["image"].any()
    assert items(last)["image"].any()
    assert (tmp_path / "mine" / "thesis.npy").exists()


def test_what_a_training_needs_stays_until_its_end(
    pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepared(pictures[:3], tmp_path)
    second = prepared(pictures[3:], tmp_path, gb=1e-6)
    assert f"The prepared slices in {tmp_path} take more than 1e-06 GB (cache_gb), since trainings" in caplog.text
    assert caplog.text.count("take more than") == 1
    assert len(entries(tmp_path)) == 6
    assert items(first)["image"].any()
    del second
    assert len(entries(tmp_path)) == 3
    assert "Removed 3 prepared cases" in caplog.text
    assert items(first)["label"].any()
    del first
    assert len(entries(tmp_path)) == 3  # its own limit is 1 GB
    prepared(pictures[:1], tmp_path, gb=1e-6)
    assert not entries(tmp_path)
    assert not list(tmp_path.glob(".unfinished_*"))


def test_nothing_is_removed_while_it_is_not_known_what_a_run_needs(pictures: Cases, tmp_path: Path) -> None:
    prepared(pictures[:2], tmp_path)
    uses = tmp_path / ".unfinished_of_somebody_else" / "uses.json"
    uses.parent.mkdir()
    uses.write_text("[half")
    prepared(pictures[2:3], tmp_path, gb=1e-6)
    assert len(entries(tmp_path)) == 3
    uses.write_text(json.dumps([entries(tmp_path)[0].name]))
    prepared(pictures[2:3], tmp_path, gb=1e-6)
    assert len(entries(tmp_path)) == 1


def test_a_process_that_is_killed_leaves_whole_entries_alone(
    pictures: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> int:
        save, saved = np.save, []

        def save_until(file: str, array: np.ndarray) -> None:
            save(file, array)
            saved.append(file)
            if len(saved) == 6:  # the label of the third case: its image is there
                os.truncate(file, 100)
                os.kill(os.getpid(), signal.SIGKILL)

        np.save = save_until  # type: ignore[assignment]
        prepared(pictures, tmp_path)
        return 0

    assert run_limited(run).code == -signal.SIGKILL
    assert len(entries(tmp_path)) == 2
    assert len(list(tmp_path.glob(".unfinished_*/new_*"))) == 1
    dataset = prepared(pictures, tmp_path)
    assert "Removed what a process that was killed had left" in caplog.text
    assert num_found(caplog) == ["2 of 6"]
    assert len(list(tmp_path.glob(".unfinished_*"))) == 1  # of the one that is there
    assert_same(dataset, prepared(pictures, tmp_path / "other"))


def test_two_at_once_do_each_other_no_harm(volumes: Cases, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whose entries are too many for the folder, so that each removes what it may."""
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(3):
                    dataset = prepared(volumes, tmp_path / "kept", gb=1e-6)
                    torch.save(items(dataset), tmp_path / f"{number}.pt")
                    del dataset
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    expected = items(prepared(volumes, tmp_path / "other"))
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt")
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_the_same_case_twice(pictures: Cases, tmp_path: Path) -> None:
    dataset = prepared([pictures[0], pictures[0]], tmp_path)
    assert len(entries(tmp_path)) == 1
    assert torch.equal(dataset[0]["image"], dataset[1]["image"])


def test_without_a_folder_there_is_no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert case_store(None, 50) is None
    store = case_store(tmp_path / "cache", 3)
    assert store is not None
    assert (store.folder, store.limit_gb) == (tmp_path / "cache" / "prepared_slices", 3)
    assert not (tmp_path / "cache").exists()
    words = ["x/monai/bundle/__main__.py", "run", "training", "--config_file", "a.json", "--cache_gb", "3"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(InputError, match="--cache_gb would have no effect: no cache_dir is given"):
        case_store(None, 3)


def test_a_folder_that_cannot_be_used(pictures: Cases, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write to the output folder .*file/kept"):
        prepared(pictures, tmp_path / "file" / "kept")


def test_phantoms_are_not_all_alike(tmp_path: Path) -> None:
    """So that the tests above would see one in the place of another."""
    cases = all_cases(make_phantoms(tmp_path, num_cases=3, size=(20, 20)))
    images = items(prepared(cases, tmp_path / "kept"))["image"]
    assert not torch.equal(images[0], images[1])
