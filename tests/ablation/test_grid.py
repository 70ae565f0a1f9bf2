"""Rows from the paper's tables and from a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from leaf_seg.ablation import Table, distinct_rows, plan_tables
from leaf_seg.runtime.errors import InputError

CONFIG = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs" / "train.json"


@pytest.fixture(scope="module")
def defaults() -> ConfigParser:
    return ConfigParser(ConfigParser.load_config_file(CONFIG))


def names(tables: list[Table]) -> list[str]:
    return [row.name for row in distinct_rows(tables)]


def test_presets_are_the_paper_s_rows(defaults: ConfigParser):
    tables = plan_tables(["2", "3", "4", "6"], None, {}, {}, defaults)
    assert [len(table.entries) for table in tables] == [6, 7, 3, 5]
    for table in tables:
        assert len({entry.row.name for entry in table.entries}) == len(table.entries)
        for entry in table.entries:
            trained = {key: entry.row.settings.get(key, defaults.get(key)) for key in entry.values}
            assert trained == entry.values, "a row is trained with what its line says"


def test_coinciding_rows_are_trained_once(defaults: ConfigParser):
    tables = plan_tables(["2", "3", "4", "6"], None, {}, {}, defaults)
    found = names(tables)
    assert len(found) == len(set(found)) == 6 + 5 + 0 + 4
    # x0 without alignment and with the published betas is a line of all four.
    shared = set.intersection(*({entry.row.name for entry in table.entries} for table in tables))
    assert shared == {"default"}


def test_the_same_table_twice_is_one_table(defaults: ConfigParser):
    assert len(plan_tables(["4", "4"], None, {}, {}, defaults)) == 1


def test_names_are_short_and_fit_for_a_folder(defaults: ConfigParser):
    assert names(plan_tables(["2"], None, {}, {}, defaults)) == [
        "parameterization_eps",
        "parameterization_eps__alignment_weight_0.75",
        "parameterization_v",
        "parameterization_v__alignment_weight_0.75",
        "default",
        "alignment_weight_0.75",
    ]
    grid: dict[str, Any] = {"image_size": [[32, 32]], "scheduler#beta_start": [1e-4], "teacher": ["a/b"]}
    (name,) = names(plan_tables([], {**grid, "alignment_weight": [1]}, {}, {}, defaults))
    assert name == "image_size_-32-32-__scheduler-beta_start_0.0001__teacher_a-b__alignment_weight_1"


def test_different_values_of_the_same_name_stay_apart(defaults: ConfigParser):
    rows = distinct_rows(plan_tables([], {"autoencoder_dir": ["a/b", "a b"]}, {}, {}, defaults))
    assert len({row.name for row in rows}) == 2
    assert [row.settings["autoencoder_dir"] for row in rows] == ["a/b", "a b"]


def test_settings_of_all_rows_are_the_base(defaults: ConfigParser):
    settings = {"parameterization": "v", "max_epochs": 2}
    rows = distinct_rows(plan_tables([], {"parameterization": ["x0", "v"]}, {}, settings, defaults))
    assert {row.name: row.settings for row in rows} == {
        "parameterization_x0": {"parameterization": "x0", "max_epochs": 2},
        "default": {"parameterization": "v", "max_epochs": 2},
    }


def test_only_rows_with_alignment_have_a_teacher(defaults: ConfigParser):
    grid: dict[str, Any] = {"alignment_weight": [0, 0.75], "teacher": ["a", "b"]}
    rows = distinct_rows(plan_tables(["2"], grid, {"unet": {"teacher"}}, {"teacher": "a"}, defaults))
    for row in rows:
        assert ("teacher" in row.settings) == (row.settings.get("alignment_weight", 0) != 0)
    assert sum("teacher" in row.settings for row in rows) == 3 + 1  # one more teacher for x0


def test_baseline_is_a_line_of_every_table_and_trained_once(defaults: ConfigParser):
    settings = {"max_minutes": 5.0, "terminal_probability": 0.7, "scheduler#beta_end": 0.02}
    baselines = {"unet": {"terminal_probability", "scheduler"}}
    tables = plan_tables(["2", "4"], None, baselines, settings, defaults)
    assert [table.entries[-1].row.name for table in tables] == ["unet", "unet"]
    (row,) = [row for row in distinct_rows(tables) if row.overlays]
    assert (row.overlays, row.draws_noise, row.settings) == (("baselines/unet",), False, {"max_minutes": 5.0})
    (alone,) = plan_tables([], None, baselines, {}, defaults)
    assert [entry.row.name for entry in alone.entries] == ["unet"]


@pytest.mark.parametrize(
    ("grid", "settings", "message"),
    [
        (None, {}, "give --table, --grid or --baseline"),
        ({}, {}, "expected a list of one or more values"),
        ({"parameterization": "x0"}, {}, "expected a list of one or more values"),
        ({"parameterization": []}, {}, "expected a list of one or more values"),
        ({"seed": [0, 1]}, {}, "use --seeds"),
        ({"dropout": [0, 0.1]}, {"output_dir": "x"}, "use --output_dir"),
        ({"dropuot": [0, 0.1]}, {}, "no key 'dropuot' in train.json; did you mean 'dropout'?"),
        ({"dropout": [0, 0.1]}, {"shceduler#beta_end": 0.02}, "did you mean 'scheduler'"),
    ],
)
def test_bad_input(defaults: ConfigParser, grid: Any, settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        plan_tables([], grid, {}, settings, defaults)
