"""Models that version 0.1 saved; their weights have the names that they have now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.data import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import load_network, save_model
from leaf_seg.weights.version_0_1 import updated
from tests.in_process import ROOT
from tests.model_files import without_checksums

Make = Callable[..., LatentSegmenter]
SAVED = Path(__file__).with_name("version_0_1.json")  # config.json of the model that the bundle then came with


def as_version_0_1(config: dict[str, Any]) -> dict[str, Any]:
    """The description of a network as that version wrote it."""
    encoder, decoder = config["image_encoder"], config["mask_decoder"]
    return {
        "_class_name": "LatentSegmenter",
        "autoencoder": encoder["autoencoder"],
        "unet": config["unet"],
        **config["diffusion"],
        "num_classes": config["codec"]["num_classes"],
        "image_size": config["image_size"],
        "noise_seed": config["noise_seed"],
        "encoder_dropout": encoder["dropout"],
        "scale_image_latent": encoder["scaled"],
        "train_decoder": decoder["trainable"],
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"parameterization": "v", "noise_seed": 4, "encoder_dropout": 0.2, "train_decoder": True},
        {"parameterization": "eps", "image_latent_first": False, "scaled": False, "ldm_schedule": True},
        {"num_classes": 6, "autoencoder": "tiny"},
    ],
    ids=["leaf", "decoder", "sdseg", "tiny"],
)
def test_loads_as_what_it_was(options: dict[str, Any], make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter(**options)
    names = [f"class_{number}" for number in range(network.num_classes)]
    save_model(network, ModelSettings(names, network.image_size), tmp_path)
    config = json.loads((without_checksums(tmp_path) / "config.json").read_text())
    config["network"] = as_version_0_1(config["network"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_network(tmp_path)
    assert isinstance(loaded, LatentSegmenter)
    assert loaded.config == json.loads(json.dumps(network.config))
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(image), network(image))


def test_a_real_one(make_segmenter: Make) -> None:
    """And so the real keys are those above, its flags for SDSeg left out where they were the defaults."""
    saved = json.loads(SAVED.read_text())["network"]
    assert set(saved) <= set(as_version_0_1(make_segmenter().config))
    loaded = LatentSegmenter.from_config({k: v for k, v in updated(saved).items() if k != "_class_name"})
    shipped = load_network(ROOT / "bundles" / "leaf_seg" / "models")
    assert isinstance(shipped, LatentSegmenter)
    assert loaded.config == shipped.config


def test_at_first_the_class_was_not_named(make_segmenter: Make) -> None:
    config = as_version_0_1(make_segmenter().config)
    assert updated({key: value for key, value in config.items() if key != "_class_name"}) == updated(config)


def test_other_descriptions_stay(make_segmenter: Make) -> None:
    for config in ({"_class_name": "BasicUNetSegmenter", "num_classes": 3}, make_segmenter().config):
        assert updated(config) == config
