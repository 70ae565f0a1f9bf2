"""Rows of the methods' overlays, what comes before them, and their table."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from leaf_seg.ablation import (
    METHOD_TABLES,
    PUBLISHED,
    Ablation,
    ParentRun,
    Table,
    check_folders,
    distinct_rows,
    methods_markdown,
    plan_methods,
    run_all,
    write_report,
)
from leaf_seg.runtime.errors import InputError

FakeCommands = Any  # see conftest.py
CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"
ON_DISK = [f"{kind}/{file.stem}" for kind in ("methods", "baselines") for file in (CONFIGS / kind).glob("*.json")]


def load(names: Sequence[str]) -> dict[str, Any]:
    return ConfigParser.load_config_files([str(CONFIGS / f"{name}.json") for name in names])


def plan(*names: str, table: str = "leaf", own: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Table:
    return plan_methods(table, names, settings, own or {}, ON_DISK, load)


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_every_row_takes_the_settings_that_it_makes_something_of() -> None:
    rows = {row.name: row for row in distinct_rows([plan(image_size=[32, 32], num_steps=4, parameterization="v")])}
    assert {"leaf", "sdseg", "medseglatdiff", "gms", "no_noise", "unet", "transunet"} <= set(rows)
    assert rows["leaf"].settings == {"image_size": [32, 32], "parameterization": "v"}
    assert rows["unet"].settings == {"image_size": [32, 32]}
    assert rows["medseglatdiff"].settings == {"image_size": [32, 32], "num_steps": 4, "parameterization": "v"}
    assert [row.draws_noise for row in (rows["leaf"], rows["gms"], rows["unet"])] == [True, False, False]


def test_every_overlay_on_disk_is_a_row_by_name() -> None:
    names = {overlay.partition("/")[2] for overlay in ON_DISK}
    rows = distinct_rows([plan(*names)])
    assert set(ON_DISK) <= {overlay for row in rows for overlay in row.overlays}


def test_a_method_without_its_overlay_is_no_row() -> None:
    table = plan_methods("leaf", [], {}, {}, ["methods/gms"], load)
    assert [entry.title for entry in table.entries] == ["LEAF", "GMS"]
    with pytest.raises(InputError, match="No method 'unet'"):
        plan_methods("leaf", ["unet"], {}, {}, ["methods/gms"], load)


def test_the_rows_of_sdseg_s_ablation_differ_as_they_say() -> None:
    complete, no_latent, frozen, neither = distinct_rows([plan(table="sdseg_ablation", latent_loss_weight=2)])
    assert complete.settings == {"latent_loss_weight": 2}
    assert no_latent.settings == {"latent_loss_weight": 0}
    assert neither.settings == {**frozen.settings, "latent_loss_weight": 0}
    assert frozen.settings["image_encoder#trainable"] is False


def test_what_is_trained_before_takes_the_data_s_settings() -> None:
    own = {"vq_autoencoder": {"num_phantoms": 4}, "medseglatdiff": {"num_cases": 2, "num_slices": 3}}
    (row,) = distinct_rows([plan("medseglatdiff", own=own, image_size=32, batch_size=4, split_file="s.json")])
    shared = {"num_slices": 3, "image_size": 32, "split_file": "s.json"}
    assert [stage.settings for stage in row.stages] == [{**shared, "num_phantoms": 4}, shared]
    assert row.evaluation == {"num_cases": 2}
    assert "num_cases" not in row.settings


@pytest.mark.parametrize(
    ("names", "own", "settings", "message"),
    [
        (["leaff"], {}, {}, "No method 'leaff'; did you mean 'leaf'?"),
        (["unet"], {"leaf": {"dropout": 0.1}}, {}, "--set_for has 'leaf', which is no row here; expected one of: unet"),
        (["unet"], {}, {"parameterization": "v"}, "parameterization, of which no row here makes anything"),
        (["unet"], {}, {"dropuot": 0.1}, "did you mean 'dropout'"),
        (["unet"], {"unet": {"parameterization": "v"}}, {}, "parameterization: row unet has no part that uses it"),
        (["unet"], {}, {"batch_size": 0}, "batch_size is 0; expected"),
        (["unet"], {}, {"num_cases": 0}, "num_cases is 0; expected"),
        (["unet"], {}, {"seed": 1}, "use --seeds"),
        (["medseglatdiff"], {}, {"autoencoder_dir": "x"}, "autoencoder_dir of medseglatdiff is what the training"),
        (["medseglatdiff"], {"mask_autoencoder": {"mask_los": "x"}}, {}, "did you mean 'mask_loss'"),
    ],
)
def test_bad_input(names: list[str], own: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(*names, own=own, **settings)


def test_autoencoders_are_trained_first_and_once(ablation: Ablation, parent: ParentRun, commands: FakeCommands) -> None:
    rows = distinct_rows([plan("medseglatdiff")])
    commands.failing = {("training", "medseglatdiff")}  # the first of the three
    assert run_all(ablation, rows, parent, commands) == {"medseglatdiff": [0]}
    assert commands.done == [("training", "medseglatdiff", "vq_autoencoder_seed_0")]
    commands.failing, commands.calls = set(), []
    assert run_all(ablation, rows, parent, commands) == {}
    assert [(call[0], call[1].name) for call in commands.calls] == [
        ("training", "vq_autoencoder_seed_0"),
        ("training", "mask_autoencoder_seed_0"),
        ("training", "seed_0"),
        ("evaluating", "seed_0"),
    ]
    first, second, third, _ = (given for _, _, given in commands.calls)
    assert "profiles/mask_autoencoder.json" in second["config_file"]
    assert (third["autoencoder_dir"], third["mask_autoencoder_dir"]) == (first["output_dir"], second["output_dir"])
    assert first["overwrite"] == "true"  # it cannot be resumed
    commands.calls = []
    run_all(ablation, rows, parent, commands)
    assert not commands.calls
    other = distinct_rows([plan("medseglatdiff", own={"mask_autoencoder": {"mask_loss": "squared_error"}})])
    with pytest.raises(InputError, match="mask_autoencoder_seed_0 was made with other settings"):
        check_folders(ablation, other)


def test_another_split_or_number_of_cases_is_evaluated_alone(
    ablation: Ablation, parent: ParentRun, commands: FakeCommands
) -> None:
    run_all(ablation, distinct_rows([plan("unet")]), parent, commands)
    commands.calls = []
    run_all(replace(ablation, split="validation"), distinct_rows([plan("unet", num_cases=3)]), parent, commands)
    ((command, _, given),) = commands.calls
    assert (command, given["split"], given["num_cases"], given["num_noise_seeds"]) == (
        "evaluating",
        "validation",
        "3",
        "1",
    )


def test_table(ablation: Ablation, parent: ParentRun, commands: FakeCommands) -> None:
    table = plan("leaf", "medseglatdiff", "unet", own={"medseglatdiff": {"num_steps": 4}}, batch_size=8)
    commands.failing = {("training", "unet")}
    failed = run_all(ablation, distinct_rows([table]), parent, commands)

    to_markdown = partial(methods_markdown, published=PUBLISHED["cvc_clinicdb"])
    text, picture, numbers = write_report(ablation, [table], failed, "reproduce", to_markdown)

    assert (text.name, picture.name, numbers.name) == ("reproduce.md", "reproduce.png", "reproduce_results.json")
    header, _, leaf, multi_step, unet = cells(text.read_text())
    assert header[:3] == ["method", "Dice", "IoU"]
    found = dict(zip(header, leaf, strict=True))
    assert "std, training seeds" not in found  # of one seed there is none
    expected = {"method": "LEAF", "HD95": "1.0 [1.0, 1.0]", "ECE": "0.020", "s per image": "0.250", "n": "4"}
    expected |= {"parameters, M": "1.50", "denoising steps": "4", "training steps": "12", "CPU minutes": "0.0"}
    assert found.items() >= (expected | {"std, noise seeds": "0.00200", "of its own": "-"}).items()
    assert found["published"].startswith("95.2 / 90.9")
    found = dict(zip(header, multi_step, strict=True))
    assert (found["of its own"], found["published"]) == ("num_steps 4", "-")
    assert unet[:3] == ["U-Net", "seeds 0 failed", "-"]
    assert "compare measured figures with each other" in " ".join(text.read_text().split())
    assert "- set for all rows: batch_size 8" in text.read_text()
    content = json.loads(numbers.read_text())["rows"]
    assert content["medseglatdiff"]["stages"] == {
        name: {"num_slices": 1} for name in ("vq_autoencoder", "mask_autoencoder")
    }
    assert content["leaf"]["result"]["hd95"]["mean"] == 1
    assert not math.isnan(content["leaf"]["result"]["cpu_minutes"])


def test_what_makes_hypotheses_is_in_the_table_of_raters() -> None:
    rows = {row.name: row for row in distinct_rows([plan(table="raters", num_samples=4, num_cases=2)])}
    assert {row.settings["rater_target"] for row in rows.values()} == {"drawn"}
    several = {"num_samples": 4, "num_cases": 2}
    assert rows["leaf"].evaluation == rows["probabilistic_unet"].evaluation == several
    assert rows["unet_dropout"].evaluation == {**several, "mc_dropout": True}
    assert rows["unet_ensemble"].evaluation == rows["unet"].evaluation == {"num_cases": 2}
    assert rows["unet_dropout"].settings["dropout"] > 0
    assert [rows[name].num_members for name in ("unet", "unet_ensemble")] == [1, 3]
    with pytest.raises(InputError, match="num_samples, of which no row here makes anything"):
        plan("unet", table="raters", num_samples=4)


def test_an_ensemble_is_trained_member_by_member(ablation: Ablation, parent: ParentRun, commands: FakeCommands) -> None:
    table = plan("unet_ensemble", "unet", table="raters")
    commands.hypotheses = 3
    commands.failing = {("evaluating", "unet_ensemble")}
    assert run_all(ablation, distinct_rows([table]), parent, commands) == {"unet_ensemble": [0]}
    members = ["member_1_seed_0", "member_2_seed_0", "seed_0"]
    assert [folder for command, row, folder in commands.done if row == "unet_ensemble"] == [*members, "seed_0"]
    given = [given for command, _, given in commands.calls if command == "training"]
    assert [each["seed"] for each in given] == ["1000", "2000", "0", "0"]
    folder = ablation.output_dir / "unet_ensemble"
    assert commands.calls[3][2]["ensemble"] == str([str(folder / name) for name in members[:2]])
    commands.failing, commands.calls = set(), []
    failed = run_all(ablation, distinct_rows([table]), parent, commands)
    assert commands.done == [("evaluating", "unet_ensemble", "seed_0")]
    commands.calls = []
    assert run_all(ablation, distinct_rows([table]), parent, commands) == {}
    assert commands.done == [], "nothing is left to do"

    for member in (1, 2):  # the commands here take no time
        state = folder / f"member_{member}_seed_0" / "ablation_row.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"cpu_seconds": 60 * member}))
    text, picture, _ = write_report(ablation, [table], failed, "reproduce", methods_markdown)
    header, _, ensemble, alone = cells(text.read_text())
    found = dict(zip(header, ensemble, strict=True))
    assert found["GED"].startswith("0.150 [")
    assert (found["HM-IoU"], found["hypotheses"]) == ("0.500 [0.500, 0.500]", "3")
    assert found["CPU minutes"] == "0.0 + 3.0"
    assert alone[0] == "U-Net, one answer"
    assert "Both depend on the number of hypotheses" in text.read_text()
    assert picture.is_file()


def test_an_ensemble_is_evaluated_again_when_a_member_is_another(
    ablation: Ablation, parent: ParentRun, commands: FakeCommands
) -> None:
    rows = distinct_rows([plan("unet_ensemble", table="raters")])
    run_all(ablation, rows, parent, commands)
    shutil.rmtree(ablation.folder(rows[0], 0, member=2))
    commands.calls = []
    commands.failing = {("evaluating", "unet_ensemble")}  # stopped after the training
    run_all(ablation, rows, parent, commands)
    commands.failing = set()
    run_all(ablation, rows, parent, commands)
    again = [("evaluating", "unet_ensemble", "seed_0")]
    assert commands.done == [("training", "unet_ensemble", "member_2_seed_0"), *again, *again]
    commands.calls = []
    run_all(ablation, [replace(rows[0], num_members=2)], parent, commands)
    assert commands.done == again


def test_settings_for_all_rows_of_the_table_of_raters() -> None:
    rows = {row.name: row for row in distinct_rows([plan("swin_unet", "ddim", table="raters", rater_target="mean")])}
    assert {row.settings["rater_target"] for row in rows.values()} == {"mean"}
    (alone,) = distinct_rows([plan("swin_unet", table="raters")])
    assert alone.settings["rater_target"] == "drawn"
    with pytest.raises(InputError, match="dropout, of which no row here makes anything"):
        plan("unet_dropout", table="raters", dropout=0.5)
    with pytest.raises(InputError, match="num_samples of unet_ensemble is the number of its members, 3"):
        plan("unet_ensemble", table="raters", own={"unet_ensemble": {"num_samples": 16}})


def test_published_figures_are_of_rows_that_there_are() -> None:
    methods = METHOD_TABLES["leaf"].methods
    assert all(set(published.rows) <= set(methods) for published in PUBLISHED.values())
