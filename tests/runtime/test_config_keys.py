from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from leaf_seg.runtime.config_keys import check_effect, unused_keys
from leaf_seg.runtime.errors import InputError

PROGRAM = str(Path(monai.bundle.__file__).with_name("__main__.py"))
CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/runs'",
    "width": 8,
    "depth": 2,
    "network": {
        "_target_": "Net",
        "width": "@width",
        "inner": {"_target_": "Other", "_disabled_": True, "d": "@depth"},
    },
    "spare": {"_target_": "Spare", "rate": "@rate"},
    "rate": 0.1,
    "initialize": ["$print(1)"],
    "training": ["$train(@network, @output_dir)"],
    "run": "%training",
    "run_name": None,
}
OVERLAY = {"network": {"_target_": "Plain"}}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, content in (("train", CONFIG), ("overlay", OVERLAY)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return [str(tmp_path / "train.json"), str(tmp_path / "overlay.json")]


def check(files: list[str], *arguments: str) -> None:
    check_effect(argv=[PROGRAM, "run", "training", "--config_file", ",".join(files), *arguments])


def test_what_a_run_refers_to_is_used() -> None:
    """Whatever is deeper in what it refers to, also in parts that are switched off."""
    assert unused_keys(CONFIG) == {"spare", "rate"}
    assert unused_keys(CONFIG | OVERLAY) == {"spare", "rate", "width", "depth"}


def test_a_setting_that_an_overlay_has_made_useless(files: list[str]) -> None:
    check(files[:1], "--width", "16")
    with pytest.raises(InputError, match="width is 16; depth is 3: what these config files train has no part"):
        check(files, "--width", "16", "--depth", "3")


def test_of_a_nested_key_the_first_level_counts(files: list[str]) -> None:
    check(files[:1], "--network#width", "3")
    with pytest.raises(InputError, match="spare#rate is 3"):
        check(files[:1], "--spare#rate", "3")


def test_an_override_does_not_make_another_one_useless(files: list[str]) -> None:
    check(files, "--bundle_root", "elsewhere", "--output_dir", "there")


def test_settings_of_tracking_are_used(files: list[str]) -> None:
    check(files, "--tracking", "mlflow", "--run_name", "first")


@pytest.mark.parametrize(
    "key",
    [
        *("tracking_uri", "experiment_name", "run_name", "parent_run"),
        *("system_metrics", "registered_model", "registered_alias"),
    ],
)
def test_settings_of_tracking_without_tracking(files: list[str], key: str) -> None:
    with pytest.raises(InputError, match=f"^{key} is 'first': nothing is tracked without --tracking mlflow"):
        check(files, f"--{key}", "first")


def test_other_processes_are_left_alone(files: list[str]) -> None:
    check_effect(argv=["/usr/bin/pytest", "run", "training", "--config_file", files[0], "--rate", "1"])
    check_effect(argv=[PROGRAM])
