from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.data.layouts import Choices
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.dataset_check.report import CheckReport
from leaf_seg.dataset_check.run_check import CheckOptions, check_data_set
from leaf_seg.runtime.errors import InputError
from tests.dataset_check.conftest import Write, disc, picture

THREE = {"training": ["a"], "validation": ["b"], "testing": ["c"]}


def check(folder: Path, **options: object) -> CheckReport:
    return check_data_set(CheckOptions(str(folder), **options))  # type: ignore[arg-type]


def finding(report: CheckReport, kind: str) -> Finding:
    found = [finding for finding in report.findings if finding.kind == kind]
    assert len(found) == 1, [finding.kind for finding in report.findings]
    return found[0]


def kinds(report: CheckReport) -> set[str]:
    return {finding.kind for finding in report.findings if finding.severity != "note"}


def test_a_sound_set_has_notes_only(sound: Path) -> None:
    before = sorted(sound.rglob("*"))
    report = check(sound, num_classes=2, group_regex=r"(p\d)_")
    assert not kinds(report)
    assert {"no near-duplicates across splits", "no group in two splits"} <= {f.kind for f in report.findings}
    assert report.num_cases == {"training": 2, "validation": 2, "testing": 2}
    assert report.statistics["cases_with_class"]["testing"] == [2, 2]
    assert report.statistics["share_of_class"][1] == pytest.approx(disc().mean())
    assert sorted(sound.rglob("*")) == before  # nothing is written, no split either


def test_faults_of_one_kind_are_one_finding(write: Write) -> None:
    cases = {name: (picture(number), disc(value=9)) for number, name in enumerate("abc")}
    cases["c"] = (picture(7), disc()[:30])
    report = check(write(cases, THREE), num_classes=2)
    errors = [f for f in report.findings if f.kind == "unfit case"]
    assert [len(f.files) for f in errors] == [2, 1]
    assert "0, 9" in errors[0].what
    assert "1 more cases" in errors[0].what
    assert "sizes 40 x 48 and 30 x 48" in errors[1].what
    assert report.has_errors
    assert not report.facts


@pytest.mark.parametrize("split", ["own", "chosen"])
def test_a_leak_between_splits_is_found_in_the_split_that_is_chosen(write: Write, split: str) -> None:
    cases = {name: (picture(number), disc()) for number, name in enumerate("abcd")}
    cases["c"] = (picture(0) // 2 + 30, disc())  # a in another light
    leaking, sound = {**THREE, "training": ["a", "d"]}, {**THREE, "training": ["a", "c"], "testing": ["d"]}
    folder = write(cases, leaking if split == "own" else sound)
    other = folder / "other.json"
    other.write_text(json.dumps({key: [f"{name}.png" for name in names] for key, names in leaking.items()}))
    report = check(folder, num_classes=2, choices=Choices(split_file="other.json" if split == "chosen" else None))
    assert finding(report, "near-duplicates across splits").files == (str(folder / "images" / "c.png"),)
    assert "1 of 1 testing images look nearly like one in training" in report.as_text()
    assert report.pairs[0].second.endswith("a.png")
    if split == "chosen":
        assert not kinds(check(folder, num_classes=2))


def test_same_content_is_found_across_splits_and_within_one(write: Write) -> None:
    cases = {name: (picture(number % 3), disc()) for number, name in enumerate("abcdef")}
    split = {"training": ["a", "d", "e"], "validation": ["b"], "testing": ["c", "f"]}
    report = check(write(cases, split), num_classes=2)
    assert finding(report, "same image in two splits").severity == "error"
    assert len(finding(report, "same image in two splits").files) == 2  # b and e
    assert len(finding(report, "same image twice").files) == 4


def test_groups_in_two_splits(sound: Path) -> None:
    report = check(sound, num_classes=2, group_regex=r"_(\d)")
    assert "2 of 2 groups" in finding(report, "group in two splits").what
    report = check(sound, num_classes=2, group_regex=r"(p[01])_")
    assert "is not in 2 of the names" in finding(report, "layout").what


def test_a_regex_that_is_none(sound: Path) -> None:
    with pytest.raises(InputError, match=r"^group_regex is "):
        check(sound, group_regex="(")


def test_empty_masks_and_absent_classes(write: Write) -> None:
    empty = np.zeros((40, 48), np.uint8)
    cases = {"a": (picture(0), empty), "b": (picture(1), disc()), "c": (picture(2), disc(value=2))}
    report = check(write(cases, THREE), num_classes=4)
    assert finding(report, "empty masks").severity == "error"
    absent = [f for f in report.findings if f.kind == "class without training case"]
    assert [f.what for f in absent] == [
        "No training or testing case has class 1 (class_1).",
        "No training or validation case has class 2 (class_2).",
        "No training or validation or testing case has class 3 (class_3).",
    ]
    report = check(write({**cases, "a": (picture(0), disc())}, THREE, "other"), num_classes=2)
    assert finding(report, "unfit case").files[0].endswith("c.png")


def test_classes_that_nobody_has_counted(write: Write) -> None:
    cases = {name: (picture(number), disc(value=255)) for number, name in enumerate("abc")}
    assert "0, 255" in finding(check(write(cases, THREE)), "class numbers").what
    cases = {name: (picture(number), disc()) for number, name in enumerate("abc")}
    report = check(write(cases, THREE, "other"))
    assert "--num_classes 2" in finding(report, "classes not named").remedy
    assert not report.has_errors


def test_twelve_bits_in_sixteen(write: Write) -> None:
    cases = {name: (picture(n)[..., 0].astype(np.uint16) * 16, disc()) for n, name in enumerate("abc")}
    folder = write(cases, THREE)
    report = check(folder, num_classes=2)
    assert '--window "[0,4095]"' in finding(report, "little of the range is used").remedy
    assert next(s.value for s in report.suggestions if s.key == "window") == [0, 4095]
    assert not kinds(check(folder, num_classes=2, window=[0, 4095]))
    assert "window misses images" in kinds(check(folder, num_classes=2, window=[5000, 6000]))


def test_thin_and_lost_structures_at_the_chosen_size(write: Write) -> None:
    label = disc(radius=1)
    label[2::8, 3::9] = 1  # specks
    cases = {name: (picture(number), label) for number, name in enumerate("abc")}
    folder = write(cases, THREE)
    small = check(folder, num_classes=2, image_size=[16, 16])
    assert {"thin structures", "structures lost by resizing"} <= kinds(small)
    assert "structures lost by resizing" not in kinds(check(folder, num_classes=2, image_size=[80, 96]))


def test_volumes_are_measured_in_ras_whatever_their_order(tmp_path: Path) -> None:
    spacing = (1.0, 1.0, 4.0)
    for number, order in enumerate(("RAS", "LPS", "SAR")):
        volume = np.random.default_rng(number).normal(size=(20, 24, 6)).astype(np.float32) - 1000 * (number == 5)
        label = np.zeros((20, 24, 6), np.uint8)
        label[5:15, 6:18, 2:5] = 1
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(order))
        )
        for part, array in (("images", volume), ("labels", label)):
            (tmp_path / part).mkdir(exist_ok=True)
            image = nib.Nifti1Image(array, np.diag([*spacing, 1.0])).as_reoriented(turn)
            nib.save(image, tmp_path / part / f"case_{number}.nii.gz")
    report = check(tmp_path, num_classes=2)
    assert report.statistics["slice_shape"]["median"] == [20, 24]
    assert report.statistics["spacing_median"] == [1, 1, 4]
    assert {f.orientation for f in report.facts} == {"RAS", "LPS", "SAR"}
    suggested = {s.key: s.value for s in report.suggestions}
    assert (suggested["axis"], suggested["num_slices"]) == ("axial", 1)
    assert finding(report, "no split").severity == "note"
    assert not report.has_errors


def test_a_layout_that_cannot_be_read_is_a_finding(sound: Path) -> None:
    (sound / "labels" / "p0_0.png").unlink()
    report = check(sound)
    assert report.has_errors
    assert "1 images without label: p0_0" in finding(report, "layout").what
    with pytest.raises(InputError, match="does not exist"):
        check(sound / "nothing")


def test_a_damaged_file_is_a_finding_and_the_others_are_checked(sound: Path) -> None:
    (sound / "images" / "p0_0.png").write_bytes(b"no picture")
    report = check(sound, num_classes=2)
    assert finding(report, "unfit case").files == (str(sound / "images" / "p0_0.png"),)
    assert len(report.facts) == 5


def test_grey_and_colour_and_constant_images(write: Write) -> None:
    cases = {name: (picture(number), disc()) for number, name in enumerate("abc")}
    cases["b"] = (np.full((40, 48), 7, np.uint8), disc())
    report = check(write(cases, THREE), num_classes=2)
    assert finding(report, "constant images").files[0].endswith("b.png")
    assert finding(report, "grey and colour").severity == "note"
    json.dumps(report.as_dict(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "leaks"), [pytest.param("split.json", False, marks=pytest.mark.nightly), ("split_published.json", True)]
)
def test_the_published_split_of_cvc_clinicdb_leaks_and_the_one_by_sequence_does_not(
    shared_data: Path, split: str, leaks: bool
) -> None:
    report = check(shared_data / "cvc_clinicdb", num_classes=2, choices=Choices(split_file=split))
    assert ("near-duplicates across splits" in kinds(report)) is leaks
    assert report.has_errors is leaks
    assert report.seconds < 60


def test_a_copy_in_another_file_format_is_a_near_duplicate(write: Write, tmp_path: Path) -> None:
    folder = write({name: (picture(n), disc()) for n, name in enumerate("abc")}, THREE)
    Image.fromarray(picture(0)).save(folder / "images" / "c.jpg", quality=80)
    (folder / "images" / "c.png").unlink()
    (folder / "split.json").write_text(
        json.dumps({"training": ["a.png"], "validation": ["b.png"], "testing": ["c.jpg"]})
    )
    assert "near-duplicates across splits" in kinds(check(folder, num_classes=2))
