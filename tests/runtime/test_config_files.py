"""The order of config files: the shipped ones and a user's."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.runtime.config_files import check_files
from leaf_seg.runtime.errors import InputError

CONFIGS = Path(inspect.getfile(check_files)).parents[2] / "configs"
BASELINES = sorted(file.stem for file in (CONFIGS / "baselines").glob("*.json"))
METHODS = sorted(file.stem for file in (CONFIGS / "methods").glob("*.json"))
TRAIN, INFER, EVALUATE = "train.json", "inference.json", "evaluate.json"
AUTOENCODER, EVALUATE_AUTOENCODER = "train_autoencoder.json", "evaluate_autoencoder.json"
DDIM, PAPER, UNET, LIGHT = (
    "methods/ddim.json",
    "methods/leaf_paper.json",
    "baselines/unet.json",
    "profiles/light_autoencoder.json",
)


def paths(*names: str) -> list[str]:
    return [str(CONFIGS / name) for name in names]


def overlay(folder: Path, content: dict[str, Any]) -> str:
    file = folder / "mine.json"
    file.write_text(json.dumps(content))
    return str(file)


@pytest.mark.parametrize(
    "names",
    [
        [TRAIN],
        [INFER],
        [AUTOENCODER],
        [AUTOENCODER, EVALUATE_AUTOENCODER],
        [AUTOENCODER, LIGHT],
        [AUTOENCODER, LIGHT, EVALUATE_AUTOENCODER],
        [AUTOENCODER, "profiles/mask_autoencoder.json", EVALUATE_AUTOENCODER],
        [INFER, "profiles/monailabel_inference.json"],
        *([TRAIN, f"{name}.json"] for name in ("evaluate", "profiles/hippocampus", "profiles/monailabel_train")),
        *([TRAIN, f"baselines/{name}.json", EVALUATE] for name in BASELINES),
        *([TRAIN, f"methods/{name}.json", EVALUATE] for name in METHODS),
        [TRAIN, PAPER, "profiles/ldm_kl8.json"],
        [TRAIN, DDIM, "profiles/hippocampus.json", EVALUATE],
    ],
)
def test_a_base_and_its_overlays(names: list[str]) -> None:
    check_files(paths(*names), {})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([EVALUATE, TRAIN], [TRAIN, EVALUATE]),
        ([DDIM, TRAIN, EVALUATE], [TRAIN, DDIM, EVALUATE]),
        ([PAPER, TRAIN], [TRAIN, PAPER]),
        ([LIGHT, AUTOENCODER], [AUTOENCODER, LIGHT]),
        ([TRAIN, TRAIN], [TRAIN]),
        ([TRAIN, DDIM, TRAIN], [TRAIN, DDIM]),
        ([TRAIN, INFER], [TRAIN]),
        ([EVALUATE], [TRAIN, EVALUATE]),
        ([EVALUATE_AUTOENCODER], [AUTOENCODER, EVALUATE_AUTOENCODER]),
        *(([f"{name}.json"], [TRAIN, f"{name}.json"]) for name in ("methods/ddim", "methods/leaf_paper")),
        *(([f"baselines/{name}.json"], [TRAIN, f"baselines/{name}.json"]) for name in BASELINES),
        *(([f"profiles/{name}.json"], [TRAIN, f"profiles/{name}.json"]) for name in ("hippocampus", "ldm_kl8")),
        ([LIGHT], [AUTOENCODER, LIGHT]),
        *(([file], [AUTOENCODER, file]) for file in ("profiles/vq_autoencoder.json", "profiles/mask_autoencoder.json")),
        (["methods/medseglatdiff.json"], [TRAIN, "methods/medseglatdiff.json"]),
        ([DDIM, EVALUATE], [TRAIN, DDIM, EVALUATE]),
        ([INFER, DDIM], [TRAIN, DDIM]),
        ([INFER, UNET], [TRAIN, UNET]),
        ([INFER, EVALUATE], [TRAIN, EVALUATE]),
        ([AUTOENCODER, EVALUATE], [TRAIN, EVALUATE]),
    ],
)
def test_the_order_that_is_expected_is_told(names: list[str], expected: list[str]) -> None:
    files = paths(*expected)
    option = files[0] if len(files) == 1 else '"[{}]"'.format(",".join(f"'{file}'" for file in files))
    with pytest.raises(InputError, match=re.escape(f"--config_file {option}") + "$") as caught:
        check_files(paths(*names), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        {"learning_rate": 1e-4, "_comment": "what for"},
        {"initialize": ["$session.begin(@seed)", "$print(1)"], "run": ["$print(@seed)"]},
        {"my_rate": 0.1, "optimizer#lr": "@my_rate"},
        {"my_program": ["$print(@seed)", "$print(1)"]},
        {"+train#handlers": [{"_target_": "StatsHandler"}]},
        {"train": "%other.json#train"},
    ],
)
def test_overlays_of_a_user_s(tmp_path: Path, content: dict[str, Any]) -> None:
    check_files([*paths(TRAIN), overlay(tmp_path, content)], {})


def test_a_base_of_a_user_s_that_two_files_make(tmp_path: Path) -> None:
    common = tmp_path / "common.json"
    common.write_text(json.dumps({"initialize": ["$f(@seed)"], "run": ["$f(@seed)"]}))
    check_files([str(common), overlay(tmp_path, {"seed": 1})], {})


def test_a_key_that_only_the_command_line_or_the_command_knows(tmp_path: Path) -> None:
    files = [*paths(TRAIN), overlay(tmp_path, {"my_rate": 0.1, "server": "x"})]
    check_files(files, {"learning_rate": "$@my_rate * 2"}, also={"server"})
    with pytest.raises(InputError, match=r"mine\.json: no key '(my_rate|server)' in train\.json"):
        check_files(files, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learning_rat": 1e-4}, "no key 'learning_rat' in train.json; did you mean 'learning_rate'? Correct it."),
        ({"batch_size": "@batch_sise"}, "refers to @batch_sise, a key that no file has; did you mean 'batch_size'?"),
    ],
)
def test_mistyped_keys_of_an_overlay(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    file = overlay(tmp_path, content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{file}: {message}')}"):
        check_files([*paths(TRAIN), file], {})


def test_an_overlay_whose_base_is_not_known(tmp_path: Path) -> None:
    file = overlay(tmp_path, {"width": 1})
    with pytest.raises(InputError, match="not a whole command; expected first the file that is changed"):
        check_files([file], {})
