"""Table, figure and numbers from what commands leave."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leaf_seg.ablation import (
    Ablation,
    Entry,
    ParentRun,
    Row,
    RowResult,
    Table,
    markdown,
    read_run,
    run_all,
    save_figure,
    summarize_row,
    write_report,
)
from leaf_seg.metrics import Interval, bootstrap_interval
from leaf_seg.runtime.errors import InputError

FakeCommands = Any  # see conftest.py
DEFAULT, V, UNET = (
    Row("default", {}),
    Row("v", {"parameterization": "v"}),
    Row("unet", {}, ("baselines/unet",), draws_noise=False),
)
TABLES = [
    Table(
        "Table 2: parameterisation",
        [Entry({"parameterization": "x0"}, DEFAULT), Entry({"parameterization": "v"}, V), Entry({}, UNET)],
    ),
    Table("Grid", [Entry({"scheduler#beta_start": 0.0015, "lr": 1}, DEFAULT), Entry({}, UNET)]),
]


def result(mean: float, **values: Any) -> RowResult:
    interval = Interval(mean, mean - 0.02, mean + 0.01, 60)
    given: dict[str, Any] = {
        "noise_std": 0.00052,
        "training_std": math.nan,
        "seeds": (0,),
        "steps": 560.0,
        "minutes": 4.96,
        "cpu_minutes": 9.04,
        "stage_cpu_minutes": 0.0,
        "ece": 0.0213,
        "seconds_per_case": 0.0456,
        "parameters": 2_345_678.0,
        "denoising_steps": math.nan,
        **dict.fromkeys(("hd95", "ged", "hm_iou"), interval),
        "hypotheses": math.nan,
    }
    return RowResult(dice=interval, iou=interval, **(given | values))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_of_given_results():
    results = {
        "default": result(0.954, seeds=(0, 1), training_std=0.00123),
        "unet": result(0.9, noise_std=math.nan, steps=math.nan),
    }
    text = markdown(TABLES, results, {"v": [0, 1], "default": [2]}, {"data set": "data/cells"}, "ablation.png")
    lines = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == [
        "parameterization",
        *("Dice", "IoU", "std, noise seeds", "n", "training seeds", "std, training seeds", "steps", "minutes"),
    ]
    interval = "0.954 [0.934, 0.964]"
    assert lines[2] == ["x0", interval, interval, "0.00052", "60", "0, 1 (2 failed)", "0.0012", "560", "5.0"]
    assert lines[3] == ["v", "failed", "-", "-", "-", "0, 1 failed", "-", "-", "-"]
    assert lines[4][0] == "unet"
    assert lines[4][3] == "-"
    assert lines[4][7] == "-"
    assert lines[5][:2] == ["beta_start", "lr"]
    assert lines[7][:3] == ["0.0015", "1", interval]
    assert lines[8][:2] == ["unet", "-"]
    assert len({len(line) for line in lines[:5]}) == len({len(line) for line in lines[5:]}) == 1
    assert "- data set: data/cells" in text
    assert "![Dice of each row with its interval](ablation.png)" in text
    assert "not with the paper's" in text


def test_one_case_has_no_interval():
    lonely = replace(result(0.5), dice=Interval(0.5, math.nan, math.nan, 1))
    text = markdown(TABLES[:1], {"default": lonely}, {}, {}, "ablation.png")
    assert "| x0 | 0.500 | 0.500 [0.480, 0.510] |" in text


def test_cases_are_averaged_over_training_seeds_first(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    ablation = replace(ablation, seeds=[0, 1, 2])
    run_all(ablation, [DEFAULT], parent, commands)
    runs = {seed: read_run(ablation.folder(DEFAULT, seed)) for seed in ablation.seeds}
    assert runs[1].dice == {str(case): pytest.approx(0.81 + 0.01 * case) for case in range(4)}
    assert (runs[1].steps, runs[1].minutes) == (12, 1.5)

    found = summarize_row(runs)

    expected = bootstrap_interval([0.81, 0.82, 0.83, 0.84])  # n is the number of cases
    assert found.dice.n == 4
    assert [found.dice.mean, found.dice.low, found.dice.high] == pytest.approx(
        [expected.mean, expected.low, expected.high]
    )
    assert found.iou.mean == pytest.approx(expected.mean - 0.2)
    assert found.training_std == pytest.approx(0.01)
    assert found.noise_std == pytest.approx(0.004)
    assert (found.seeds, found.steps) == ((0, 1, 2), 12)


def test_report_of_rows_some_of_which_failed(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    ablation = replace(ablation, seeds=[0, 1])
    commands.failing = {("training", "v")}
    failed = run_all(ablation, [DEFAULT, V, UNET], parent, commands)
    text, picture, numbers = write_report(ablation, TABLES, failed)

    assert text.name == "ablation.md"
    for fact in ("testing split, n = 4 cases", "SHA-256 of its split: abc", "training steps: 12", "noise seeds: 10"):
        assert fact in text.read_text()
    assert "| v | failed |" in text.read_text()
    assert "- set for all rows: nothing" in text.read_text()
    content = json.loads(numbers.read_text())
    assert content["rows"]["v"] == {
        "settings": {"parameterization": "v"},
        "overlays": [],
        "evaluation": {},
        "stages": {},
        "failed_seeds": [0, 1],
        "result": None,
    }
    assert content["rows"]["default"]["result"]["dice"]["mean"] == pytest.approx(0.82)
    assert content["rows"]["unet"]["result"]["noise_std"] is None
    assert content["tables"][0]["entries"][1] == {"values": {"parameterization": "v"}, "row": "v"}
    assert picture.is_file()


def test_rows_of_different_splits_are_refused(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    run_all(ablation, [DEFAULT], parent, commands)
    commands.sha256 = "def"
    run_all(ablation, [V], parent, commands)
    with pytest.raises(InputError, match="different splits"):
        write_report(ablation, [Table("x", [Entry({"p": 1}, DEFAULT), Entry({"p": 2}, V)])], {})


def test_figure_has_a_dot_for_each_result(ablation: Ablation):
    ablation.output_dir.mkdir()
    path = ablation.output_dir / "figure.png"

    def draw(tables: list[Table], results: dict[str, RowResult]) -> tuple[int, int]:
        """Number of bands of rows that are blue somewhere, one for each dot, and height of the picture."""
        save_figure(tables, results, path)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        blue = (np.abs(pixels - (0, 0x72, 0xB2)).max(axis=-1) < 8).any(axis=1).astype(int)
        return int((np.diff(blue, prepend=0) == 1).sum()), len(pixels)

    results = {"default": result(0.9), "v": result(0.7)}
    assert draw(TABLES[:1], {})[0] == 0
    assert draw(TABLES[:1], {"default": result(0.9)})[0] == 1
    one_panel, two_panels = draw(TABLES[:1], results), draw(TABLES, results)
    assert one_panel[0] == 2
    assert two_panels[0] == 3, "a row is drawn in each of its tables"
    assert two_panels[1] > one_panel[1]


def test_figure_shows_the_score_of_its_table(tmp_path: Path):
    def drawn(score: str, ged: float) -> bytes:
        found = result(0.9, ged=Interval(ged, ged - 0.1, ged + 0.1, 4), hypotheses=16.0)
        save_figure([Table("A table", TABLES[0].entries, score)], {"default": found}, tmp_path / "figure.png")
        return (tmp_path / "figure.png").read_bytes()

    assert drawn("ged", 0.3) != drawn("ged", 0.9)
    assert drawn("dice", 0.3) == drawn("dice", 0.9)


def test_settings_of_all_rows_are_stated(ablation: Ablation, parent: ParentRun, commands: FakeCommands):
    rows = [Row(name, {"max_epochs": 15, "parameterization": name}) for name in ("v", "eps")]
    table = Table("A table", [Entry({"parameterization": row.name}, row) for row in rows])
    assert run_all(ablation, rows, parent, commands) == {}
    text, *_ = write_report(ablation, [table], {})
    assert "- set for all rows: max_epochs 15" in text.read_text()
