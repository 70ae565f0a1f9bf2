from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon

from leaf_seg.__main__ import main
from leaf_seg.metrics import METRICS, compare, paired_comparison, paired_difference
from leaf_seg.metrics.comparison import MEAN_FOREGROUND, read_cases
from leaf_seg.metrics.conventions import BASIC_METRICS
from leaf_seg.runtime.errors import InputError


def write_report(
    folder: Path, dice: dict[str, dict[str, float]], hd95: float = 1.0, metrics: tuple[str, ...] = METRICS
) -> Path:
    """A report with the Dice of each case and class; the other metrics are the same everywhere."""
    folder.mkdir()
    with (folder / "metrics_cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "class", *metrics])
        for case, classes in dice.items():
            for name, value in classes.items():
                values = {"dice": value, "hd95": "" if math.isnan(hd95) else hd95}
                writer.writerow([case, name, *(values.get(metric, 0.25) for metric in metrics)])
    return folder


def random_report(folder: Path, seed: int, cases: int = 12) -> Path:
    values = np.random.default_rng(seed).uniform(0.5, 1, (cases, 2))
    return write_report(folder, {f"case_{i}": {"a": row[0], "b": row[1]} for i, row in enumerate(values)})


def test_interval_is_that_of_scipy_s_paired_bootstrap(tmp_path: Path) -> None:
    first, second = (read_cases(random_report(tmp_path / str(i), i) / "metrics_cases.csv")["dice"]["a"] for i in (0, 1))
    found = paired_difference(first, second)
    expected = bootstrap(
        (np.array(list(first.values())), np.array(list(second.values()))),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert found.mean == pytest.approx(np.mean(list(first.values())) - np.mean(list(second.values())))
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.01)
    assert found.n == 12


def test_pairing_takes_off_what_cases_share() -> None:
    hard = np.random.default_rng(0).uniform(0, 1, 30)
    first = {str(i): value + 0.01 for i, value in enumerate(hard)}
    interval = paired_difference(first, {str(i): value for i, value in enumerate(hard)})
    assert (interval.low, interval.high) == pytest.approx((0.01, 0.01))


def test_foreground_is_the_mean_of_the_classes_of_a_case(tmp_path: Path) -> None:
    report = write_report(tmp_path / "a", {"x": {"a": 0.5, "b": 0.7}, "y": {"a": 1.0, "b": 0.0}}, hd95=math.nan)
    table = read_cases(report / "metrics_cases.csv")
    assert table["dice"][MEAN_FOREGROUND] == pytest.approx({"x": 0.6, "y": 0.5})
    assert all(math.isnan(value) for value in table["hd95"][MEAN_FOREGROUND].values())


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_report(tmp_path / "a", {"x": {"a": 0.9}, "y": {"a": 0.7}})
    second = write_report(tmp_path / "b", {"x": {"a": 0.8}, "y": {"a": 0.5}})
    assert main(["compare", str(first), str(second)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    interval = ["+0.1500", "[+0.1000,", "+0.2000]"]
    assert line.split() == ["a", "dice", "0.8000", "0.6500", *interval, "+0.1500", "2/0/0", "0.5", "2"]


def test_median_wins_and_signed_ranks() -> None:
    generator = np.random.default_rng(0)
    first = {str(i): value for i, value in enumerate(generator.uniform(0, 1, 20))}
    second = {str(i): value for i, value in enumerate(generator.uniform(0, 1, 20))} | {"7": first["7"], "8": math.nan}
    found = paired_comparison(first, second)
    differences = np.array([first[case] - second[case] for case in first if case != "8"])
    assert found.median == pytest.approx(np.median(differences))
    assert found.wins == ((differences > 0).sum(), 1, (differences < 0).sum())
    assert found.p == pytest.approx(wilcoxon(differences).pvalue)
    assert paired_comparison(first, second, lower_is_better=True).wins == found.wins[::-1]


@pytest.mark.filterwarnings("error")
def test_signed_ranks_without_differences() -> None:
    same = paired_comparison({"a": 0.3, "b": 0.1 + 0.2}, {"a": 0.1 + 0.2, "b": 0.3})  # the same but for rounding
    assert (same.median, same.wins, same.p) == (0, (0, 2, 0), 1)
    none = paired_comparison({"a": math.nan}, {"a": 0.5})
    assert none.wins == (0, 0, 0)
    assert math.isnan(none.median)
    assert math.isnan(none.p)


def test_distances_are_won_by_the_lower(tmp_path: Path) -> None:
    cases = {"x": {"a": 0.9}, "y": {"a": 0.7}}
    text = compare(write_report(tmp_path / "a", cases, hd95=2), write_report(tmp_path / "b", cases, hd95=1))
    (line,) = [line for line in text.splitlines() if line.startswith("a ") and " hd95 " in line]
    assert "  0/0/2  " in line


def test_other_cases(tmp_path: Path) -> None:
    first, second = random_report(tmp_path / "a", 0), random_report(tmp_path / "b", 0, cases=11)
    text = compare(first, second)
    assert text.splitlines()[-1] == "Compared are the 11 common cases; 1 only in the first, such as case_11."
    row = text.splitlines()[1].split()
    assert row[2] == row[3]  # of the common cases
    assert row[-1] == "11"
    other = write_report(tmp_path / "c", {"x": {"a": 0.5, "b": 0.5}})
    with pytest.raises(InputError, match=r"have no case in common: case_0, case_1, .* and x; expected"):
        compare(first, other)


def test_an_evaluation_of_version_0_2(tmp_path: Path) -> None:
    """Its table has no dice_positive and no hd95_worst."""
    cases = {"x": {"a": 0.9}, "y": {"a": 0.7}}
    former = [write_report(tmp_path / name, cases, metrics=BASIC_METRICS) for name in "ab"]
    new = write_report(tmp_path / "c", cases)
    assert "hd95_worst" in compare(new, new)
    assert "worst" not in compare(*former)
    table, note = compare(former[0], new).rsplit("\n", 1)
    assert "worst" not in table
    assert note == (
        "Not compared: dice_positive, hd95_worst, which only the second has; evaluate the other model again."
    )


def test_other_classes(tmp_path: Path) -> None:
    first, second = (write_report(tmp_path / name, {"x": {name: 0.9}}) for name in "ab")
    with pytest.raises(InputError, match="have the classes"):
        compare(first, second)


def test_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "Evaluate the model first" in capsys.readouterr().err
    (tmp_path / "metrics_cases.csv").write_text("case,dice\nx,1\n")
    with pytest.raises(InputError, match="is no table of an evaluation"):
        compare(tmp_path, tmp_path)


HEADER = "case,class,dice,iou,hd95,surface_dice\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((f"{HEADER}x,a,{cell},0.5,1,1\n".encode(), "row 2, has dice") for cell in ("abc", "7.5", "-3", "inf", "nan")),
        (f"{HEADER}x,a,0.5,0.5,1e308,1\n".encode(), "row 2, has hd95 '1e308'"),
        (f"{HEADER}x,a,1,1,1,1\nx,a,0,1,1,1\n".encode(), "row 3, has case x a second time"),
        (f"{HEADER}x,a,1,1,1,1\ny,a,1\n".encode(), "row 3, has fewer or more cells"),
        (f"{HEADER}x,a,1,1,1,1,1\n".encode(), "row 2, has fewer or more cells"),
        (f"{HEADER}ä,a,1,1,1,1\n".encode("latin-1"), "cannot be read as a table"),
        (f"{HEADER}x,a,1,1,1,1\n".encode("utf-16"), "cannot be read as a table"),
        (f"{HEADER}{'x' * 200_000},a,1,1,1,1\n".encode(), "cannot be read as a table"),
    ],
)
def test_a_table_that_no_evaluation_wrote(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics_cases.csv").write_bytes(content)
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"leaf_seg: {tmp_path / 'metrics_cases.csv'}")
    assert message in told
    assert told.count("\n") == 1


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    report = random_report(tmp_path / "a", 0)
    file = report / "metrics_cases.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_cases(file)["dice"]["a"]) == 12


def test_other_tolerances(tmp_path: Path) -> None:
    first, second = random_report(tmp_path / "a", 0), random_report(tmp_path / "b", 1)
    (first / "metrics_summary.json").write_text('{"tolerance": 1.0}')
    assert "surface_dice" in compare(first, second)  # there is nothing to compare with
    (second / "metrics_summary.json").write_text('{"tolerance": 2.0}')
    with pytest.raises(InputError, match=r"at the tolerance 1, that of .* at 2; expected the same"):
        compare(first, second)
    (first / "metrics_summary.json").write_text('{"tolerance": null, "tolerance_share": 0.01}')
    with pytest.raises(InputError, match=r"at the tolerance 0.01 of the diagonal, that of .* at 2; expected the same"):
        compare(first, second)
    (second / "metrics_summary.json").write_text('{"tolerance": null, "tolerance_share": 0.01}')
    assert "surface_dice" in compare(first, second)
    (second / "metrics_summary.json").write_text("[" * 10)
    with pytest.raises(InputError, match=r"metrics_summary.json cannot be read"):
        compare(first, second)


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    report = random_report(tmp_path / "a", 0)
    to_read, to_write = os.pipe()
    os.close(to_read)
    command = [sys.executable, "-m", "leaf_seg", "compare", str(report), str(report)]
    result = subprocess.run(command, stdout=to_write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(to_write)
    assert (result.returncode, result.stderr) == (0, "")
