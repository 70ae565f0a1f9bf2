"""The table of what settings may be, and the check of a config by it."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from diffusers.optimization import SchedulerType
from monai.bundle import ConfigParser

from leaf_seg.data.slicing import SLICE_AXES
from leaf_seg.data.splits import SPLITS
from leaf_seg.diffusion.schedule import PARAMETERIZATIONS
from leaf_seg.distillation import RECIPES
from leaf_seg.inference.fast_network import COMPILE
from leaf_seg.runtime.bounds import Bound, Choice, Switch
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import AUTO, PRECISIONS
from leaf_seg.runtime.setting_bounds import SETTINGS, check_settings
from leaf_seg.runtime.values import is_built_later

CONFIGS = Path(inspect.getfile(check_settings)).parents[2] / "configs"
SHIPPED = sorted(file for file in CONFIGS.rglob("*.json") if file.name != "metadata.json")
INFINITE, NAN = float("inf"), float("nan")
# Beside those that every key refuses.
UNFIT: dict[str, list[Any]] = {
    "max_epochs": [0, -1, 1.5, 10**400],
    "val_interval": [0, 0.5],
    "batch_size": [0, -4, 65537],
    "accumulation_steps": [0, 1.5],
    "learning_rate": [-1e-4, 2],
    "weight_decay": [-0.1],
    "lr_schedule": ["piecewise_constant", "cosin"],
    "warmup_steps": [-1, 1.5],
    "schedule_epochs": [0],
    "max_grad_norm": [0, -1],
    "ema_decay": [1, -0.1],
    "dropout": [1, -0.1],
    "terminal_probability": [1.1],
    "image_loss_weight": [-1],
    "alignment_weight": [-1],
    "alignment_recipe": ["i-repa", ["repa"]],
    "empty_slice_rate": [-0.1, 1.1],
    "rater_target": ["majority", ["drawn"], True],
    "flip_probability": [0.5, [0.5], [0.5, 2], [0.5, True]],
    "num_workers": [-1, 1.5],
    "num_overlays": [-1],
    "num_samples": [0, 10001],
    "num_noise_seeds": [0],
    "seed": [-1, 2**32],
    "noise_seed": [-1],
    "max_minutes": [0, -1],
    "max_cpu_minutes": [0, -1],
    "checkpoint_minutes": [-1],
    "early_stopping": [0],
    "memory_limit_gb": [0],
    "cache_gb": [0],
    "surface_tolerance": [0],
    "surface_tolerance_share": [0, 1.5],
    "precision": ["fp8"],
    "storage": ["bf16"],
    "num_classes": [1, 257],
    "class_names": ["abc", ["background"], ["background", ""], ["background", 1]],
    "image_size": [0, 1.5, [64], [64, 0], [64, 64, 64]],
    "label_encoding": ["onehot"],
    "window": [[1], ["a", "b"]],
    "spacing": [1, [1, 1, 0]],
    "axis": ["axail", [], ["axial", "axial"], 1],
    "mirror_axes": ["abc", [3], [0, 0], 1, [True]],
    "num_slices": [2],
    "split": ["train"],
    "parameterization": ["x1"],
    "system_metrics": [2, "cpu"],
    "registered_model": ["a/b", "a:b", "a@b", "..", "a\nb", 7, ["a"]],
    "registered_alias": ["latest", "Latest", "v1", "a b", "a/b", "x" * 256, 7],
}


@pytest.mark.parametrize("key", SETTINGS)
def test_values_that_cannot_be_meant_are_refused(key: str) -> None:
    for value in [INFINITE, NAN, "", " ", [], {}, [[]], *UNFIT.get(key, [])]:
        if key == "mirror_axes" and value == []:
            continue  # none
        with pytest.raises(InputError, match=rf"\b{key} is ") as caught:
            check_settings({key: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [key for key, bound in SETTINGS.items() if isinstance(bound, (Bound, Choice))])
def test_a_flag_and_a_word_are_no_number_and_no_choice(key: str) -> None:
    for value in (True, "abc"):
        with pytest.raises(InputError, match=f"^{key} is {value!r}; expected "):
            check_settings({key: value})


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_the_shipped_configs_have_is_allowed(file: Path) -> None:
    check_settings(json.loads(file.read_text()))


def test_every_plain_value_of_the_commands_is_in_the_table() -> None:
    parser = ConfigParser()
    names = ("train", "train_autoencoder", "evaluate", "evaluate_autoencoder", "inference")
    parser.read_config([str(CONFIGS / f"{name}.json") for name in names])
    items = parser.get().items()
    plain = {key for key, value in items if not is_built_later(value) and not isinstance(value, dict)}
    assert len(plain) > 50
    assert not plain - set(SETTINGS)
    of_the_bundle = {"config_dirs", "root", "python_path"}  # not to be set
    expressions = {key for key, value in items if isinstance(value, str) and value.startswith("$")}
    assert expressions - set(SETTINGS) - of_the_bundle == {"data_id", "autoencoder"}


def test_expressions_references_and_parts_are_left_alone() -> None:
    check_settings(
        {
            "max_epochs": "$-3",
            "batch_size": "@other",
            "image_size": ["@side", "@side"],
            "tracking_uri": {"_target_": "x"},
            "of_an_overlay": -1,
        }
    )


def test_number_and_names_of_classes_have_to_agree() -> None:
    names = ["background", "lesion"]
    check_settings({"class_names": names, "num_classes": 2})
    with pytest.raises(InputError, match="num_classes is 3, but class_names has 2 names"):
        check_settings({"class_names": names, "num_classes": 3})


def test_one_limit_of_time() -> None:
    check_settings({"max_minutes": 2, "max_cpu_minutes": None})
    with pytest.raises(InputError, match=r"max_minutes is 2 and max_cpu_minutes is 0\.5; expected one of them"):
        check_settings({"max_minutes": 2, "max_cpu_minutes": 0.5})


def test_an_alias_is_of_a_registered_model() -> None:
    check_settings({"registered_model": "white cells.2", "registered_alias": "champion"})
    with pytest.raises(InputError, match="registered_alias is 'champion', and registered_model is null; expected both"):
        check_settings({"registered_model": None, "registered_alias": "champion"})


def test_the_table_has_the_words_of_the_code() -> None:
    assert SETTINGS["axis"] == Choice(tuple(SLICE_AXES), several=True, optional=True)
    assert SETTINGS["split"] == Choice(SPLITS)
    assert SETTINGS["parameterization"] == Choice(PARAMETERIZATIONS)
    assert SETTINGS["alignment_recipe"] == Choice(tuple(RECIPES))
    assert SETTINGS["precision"] == Choice((*PRECISIONS, AUTO))
    assert SETTINGS["compile"] == Choice(COMPILE)
    schedules = {kind.value for kind in SchedulerType} - {"piecewise_constant"}  # which takes rules besides
    assert isinstance(SETTINGS["lr_schedule"], Choice)
    assert set(SETTINGS["lr_schedule"].options) == schedules


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_no_expression_takes_a_word_for_true(file: Path) -> None:
    """``--resume false`` is the text "false" in a config, which Python code in it would take for true."""
    switches = "|".join(key for key, bound in SETTINGS.items() if isinstance(bound, Switch))
    found = re.findall(rf'"\$[^"]*@(?:{switches})\b[^"]*"', file.read_text())
    assert not found
