from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from leaf_seg.data import Datalist, class_names, given_cases, load_datalist, split_cases
from leaf_seg.runtime.errors import InputError


def _cases(datalist: Datalist) -> dict[str, list[str]]:
    splits = {"training": datalist.training, "validation": datalist.validation, "testing": datalist.testing}
    return {split: [Path(case["image"]).name for case in cases] for split, cases in splits.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 20 cases without a split; their content plays no part here."""
    root = tmp_path / "set"
    for index in range(20):
        for part in ("images", "labels"):
            (root / part).mkdir(parents=True, exist_ok=True)
            (root / part / f"case_{index:02d}.png").touch()
    return root


def test_split_is_made_kept_and_used_again(folder: Path) -> None:
    first = load_datalist(str(folder), seed=3)
    assert [len(cases) for cases in _cases(first).values()] == [14, 2, 4]
    assert sorted(name for names in _cases(first).values() for name in names) == [
        f"case_{i:02d}.png" for i in range(20)
    ]
    assert _cases(first)["training"] != [f"case_{i:02d}.png" for i in range(14)]  # shuffled

    kept = json.loads((folder / "leaf_seg_datalist.json").read_text())
    assert kept["sha256"] == first.sha256
    assert (kept["seed"], kept["fractions"]) == (3, [0.7, 0.1, 0.2])
    assert all(not os.path.isabs(case["image"]) for case in kept["training"])
    assert sorted(os.listdir(folder)) == ["images", "labels", "leaf_seg_datalist.json"]  # nothing temporary
    assert load_datalist(str(folder), seed=4) == first  # the kept split wins over another seed


def test_kept_split_is_a_datalist_and_moves_with_the_data_set(folder: Path) -> None:
    before = load_datalist(str(folder))
    moved = folder.rename(folder.with_name("moved"))
    after = load_datalist(str(moved))
    assert _cases(after) == _cases(before)
    assert after.sha256 == before.sha256
    assert load_datalist(str(moved / "leaf_seg_datalist.json")) == after


def test_split_depends_on_the_seed_and_not_on_where_it_is_kept(folder: Path, tmp_path: Path) -> None:
    one, two, other = (
        load_datalist(str(folder), datalist_file=str(tmp_path / name / "split.json"), seed=seed)
        for name, seed in (("one", 0), ("two", 0), ("other", 1))
    )
    assert one == two
    assert one.sha256 != other.sha256
    assert not (folder / "leaf_seg_datalist.json").exists()


def test_added_and_removed_cases(folder: Path) -> None:
    load_datalist(str(folder))
    for part in ("images", "labels"):
        (folder / part / "new.png").touch()
        (folder / part / "case_07.png").unlink()
    with pytest.raises(InputError, match=r"1 added: images/new\.png; 1 removed: images/case_07\.png.*Delete the file"):
        load_datalist(str(folder))


def test_kept_split_that_was_edited(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_datalist(str(folder))
    file = folder / "leaf_seg_datalist.json"
    kept = json.loads(file.read_text())
    kept["testing"].append(kept["training"].pop())
    file.write_text(json.dumps(kept))
    assert len(load_datalist(str(folder)).testing) == 5
    assert "was changed since it was written" in caplog.text

    kept["testing"].append(kept["training"][0])
    file.write_text(json.dumps(kept))
    with pytest.raises(InputError, match="listed more than once"):
        load_datalist(str(folder))
    file.write_text('{"training": []}')
    with pytest.raises(InputError, match="holds no split"):
        load_datalist(str(folder))


def test_kept_split_follows_a_label_to_another_suffix(folder: Path) -> None:
    load_datalist(str(folder))
    (folder / "labels" / "case_00.png").rename(folder / "labels" / "case_00.jpg")
    datalist = load_datalist(str(folder))
    cases = (*datalist.training, *datalist.validation, *datalist.testing)
    assert all(Path(case["label"]).is_file() for case in cases)


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [(3, (0.7, 0.1, 0.2), [1, 1, 1]), (4, (0.02, 0.49, 0.49), [1, 2, 1]), (5, (0.9, 0.05, 0.05), [3, 1, 1])],
)
def test_each_split_gets_a_case(folder: Path, count: int, fractions: tuple[float, ...], sizes: list[int]) -> None:
    for part in ("images", "labels"):
        for file in sorted((folder / part).iterdir())[count:]:
            file.unlink()
    assert [len(cases) for cases in _cases(load_datalist(str(folder), fractions=fractions)).values()] == sizes


def test_too_few_cases(folder: Path) -> None:
    for part in ("images", "labels"):
        for file in sorted((folder / part).iterdir())[2:]:
            file.unlink()
    with pytest.raises(InputError, match=r"2 case\(s\) found .* at least 3"):
        load_datalist(str(folder))


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.7, 0.2, 0.2), (0.8, 0.0, 0.2)])
def test_bad_fractions(folder: Path, fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="three positive numbers that sum to 1"):
        load_datalist(str(folder), fractions=fractions)


def test_unwritable_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"split cannot be written .* Pass --datalist_file"):
        load_datalist(str(folder), datalist_file=str(tmp_path / "file" / "split.json"))


def test_given_split_is_used_without_writing(folder: Path) -> None:
    (folder / "split.json").write_text(json.dumps({"training": ["case_00.png"], "testing": ["case_01.png"]}))
    assert _cases(load_datalist(str(folder))) == {
        "training": ["case_00.png"],
        "validation": [],
        "testing": ["case_01.png"],
    }
    assert not (folder / "leaf_seg_datalist.json").exists()


def test_hash_tells_splits_apart(folder: Path) -> None:
    hashes = set()
    for training, testing in (("00", "01"), ("01", "00"), ("00", "02")):
        split = {"training": [f"case_{training}.png"], "testing": [f"case_{testing}.png"]}
        (folder / "split.json").write_text(json.dumps(split))
        hashes.add(load_datalist(str(folder)).sha256)
    assert len(hashes) == 3


def test_class_names() -> None:
    named = Datalist([], [], [], ["background", "head"], "")
    unnamed = Datalist([], [], [], None, "")
    assert class_names(named, None) == class_names(named, 2) == ["background", "head"]
    assert class_names(unnamed, 3) == ["background", "class_1", "class_2"]
    with pytest.raises(InputError, match="add --num_classes N"):
        class_names(unnamed, None)
    with pytest.raises(InputError, match=r"num_classes is 3, but the data set names 2 classes \(background, head\)"):
        class_names(named, 3)
    with pytest.raises(InputError, match="expected a whole number, 2 to 256"):
        class_names(unnamed, 1)


@pytest.mark.parametrize(
    ("name", "sizes"), [("wbc", [210, 30, 60]), ("msd_hippocampus", [160, 20, 20]), ("vnc_em", [56, 4, 12])]
)
def test_real_data_sets(shared_data: Path, name: str, sizes: list[int]) -> None:
    assert [len(cases) for cases in _cases(load_datalist(str(shared_data / name))).values()] == sizes


def test_cases_given_by_a_program() -> None:
    cases = [{"image": f"/a/{name}.png", "label": f"/b/{name}.png"} for name in "xyz"]
    datalist = given_cases(cases[:2], cases[2:])
    assert _cases(datalist) == {"training": ["x.png", "y.png"], "validation": ["z.png"], "testing": []}
    assert datalist.sha256 == given_cases(cases[1::-1], cases[2:]).sha256 != given_cases(cases[:1], cases[2:]).sha256
    with pytest.raises(InputError, match="no training cases"):
        given_cases([], cases)


def test_without_validation_cases_the_training_cases_are_validated_on(caplog: pytest.LogCaptureFixture) -> None:
    cases = [{"image": "/a/x.png", "label": "/b/x.png"}]
    assert _cases(given_cases(cases, [])) == {"training": ["x.png"], "validation": ["x.png"], "testing": []}
    assert "no validation cases" in caplog.text


@pytest.mark.parametrize(
    ("number", "expected"), [(None, "abcdefg"), (9, "abcdefg"), (1, "a"), (2, "ad"), (3, "ace"), (7, "abcdefg")]
)
def test_a_part_of_a_split_is_spread_over_it(number: int | None, expected: str) -> None:
    datalist = given_cases([{"image": name, "label": name} for name in "abcdefg"], [])
    assert "".join(case["image"] for case in split_cases(datalist, "training", number)) == expected
