"""What can be known of the arguments of parts; the real ones of the configs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader

from leaf_seg.engines import BundleEvaluator, BundleTrainer
from leaf_seg.runtime.arguments import arguments_of, find_target, handed_on
from leaf_seg.runtime.references import items

CONFIGS = Path(inspect.getfile(arguments_of)).parents[2] / "configs"
SHIPPED = sorted(file for file in CONFIGS.rglob("*.json") if file.name != "metadata.json")


class Another(dict[str, Any]):
    def __init__(self, a: int = 1, **kwargs: Any) -> None:
        super().__init__(a=a, **kwargs)


@pytest.mark.parametrize("kind", [BundleTrainer, BundleEvaluator, DataLoader])
def test_those_handed_on_to_the_base_are_its(kind: type) -> None:
    known = arguments_of(f"{kind.__module__}.{kind.__qualname__}")
    base = set(inspect.signature(kind.__mro__[1]).parameters)
    own = {name for name in inspect.signature(kind).parameters if name != "kwargs"}
    assert known is not None
    assert set(known) == base | own


@pytest.mark.parametrize(
    "target",
    [
        "dict",
        "functools.partial",
        "monai.transforms.LoadImaged",
        f"{__name__}.Another",
        "no.such.Thing",
        "$torch.nn.Module",
        3,
    ],
)
def test_what_may_take_anything_or_is_not_found(target: Any) -> None:
    assert arguments_of(target) is None


def test_monai_s_short_names() -> None:
    known = arguments_of("DiceCELoss")
    assert known is not None
    assert "softmax" in known


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_part_of_the_shipped_configs_takes_what_it_is_given(file: Path) -> None:
    for path, part in items(ConfigParser.load_config_file(file)):
        if isinstance(part, dict) and "_target_" in part:
            assert find_target(part["_target_"]) is not None, path
            known = arguments_of(part["_target_"])
            assert known is None or {key for key in part if not key.startswith("_")} <= set(known), path


def test_dictionaries_that_are_handed_on() -> None:
    config = {
        "unet_config": {},
        "other": {},
        "network_def": {"_target_": "leaf_seg.weights.initial_segmenter", "unet_config": "@unet_config"},
        "autoencoder_def": {"_target_": "leaf_seg.networks.initial_autoencoder", "config": {}},
    }
    unet, autoencoder = handed_on(config, ("unet_config",)), handed_on(config, ("autoencoder_def", "config"))
    assert unet is not None
    assert {"block_out_channels", "num_attention_heads"} <= set(unet)
    assert autoencoder is not None
    assert {"latent_channels", "num_encoder_blocks", "_class_name"} <= set(autoencoder)
    assert handed_on(config, ("other",)) is None
    own_unet = {"unet": {"_target_": "my.UNet", "config": "@unet_config"}}
    assert handed_on({**config, "network_def": own_unet}, ("unet_config",)) is None
