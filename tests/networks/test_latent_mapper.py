"""The control without noise and timesteps, and the mapper of latents in the U-Net's place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.diffusion import DiffusionSettings, noise_scheduler
from leaf_seg.networks import LatentSegmenter
from leaf_seg.networks.parts import build_denoiser
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, save_model

MAPPER = {"_class_name": "LatentMapper", "block_out_channels": [16], "attention_head_dim": 8, "norm_num_groups": 4}
Make = Callable[..., LatentSegmenter]


@pytest.fixture
def mapped(make_segmenter: Make) -> LatentSegmenter:
    torch.manual_seed(0)
    mapper = build_denoiser({**MAPPER, "in_channels": 8, "out_channels": 4})
    return make_segmenter(unet=mapper, with_noise=False)


def test_noise_and_timesteps_play_no_part(mapped: LatentSegmenter) -> None:
    image = torch.rand(2, 3, 16, 16)
    noise, steps = torch.randn(2, 4, 4, 4), torch.tensor([3, 999])
    torch.testing.assert_close(mapped(image, noise, steps), mapped(image, noise * 0, steps * 0))
    assert not torch.equal(mapped(image), mapped(torch.rand(2, 3, 16, 16)))


def test_saved_and_loaded(mapped: LatentSegmenter, tmp_path: Path) -> None:
    save_model(mapped, ModelSettings(["background", "a", "b"], (16, 16)), tmp_path)
    again = load_network(tmp_path)
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(again(image), mapped(image))
    assert json.dumps(again.config) == json.dumps(mapped.config)
    assert type(again.unet).__name__ == "LatentMapper"


def test_training_reaches_every_parameter(mapped: LatentSegmenter) -> None:
    mapped.train()(torch.rand(2, 3, 16, 16), torch.zeros(2, 4, 4, 4), torch.tensor([999, 999])).mean().backward()
    assert all(parameter.grad is not None for parameter in mapped.unet.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_out_channels": [16, 32]}, "block_out_channels is"),
        ({"block_out_channels": [8192], "layers_per_block": 16}, "parameters"),
        ({"down_block_types": ["DownBlock2D"]}, "no argument down_block_types"),
    ],
)
def test_unfit_mappers(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_denoiser({**MAPPER, **changes})


def test_without_noise_all_start_from_zeros(make_segmenter: Make) -> None:
    network = make_segmenter(with_noise=False)
    assert not network.noise.any()
    assert network.config["diffusion"]["with_noise"] is False
    schedule = network.schedule
    assert not schedule.add_noise(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2), torch.tensor([5])).any()
    with pytest.raises(InputError, match="draws no noise"):
        network.noise_seeds(2)
    assert make_segmenter().noise.any()


def test_only_the_clean_latent_can_be_predicted_without_noise() -> None:
    with pytest.raises(InputError, match="parameterization is 'eps'; expected x0 where with_noise is false"):
        DiffusionSettings(noise_scheduler(), "eps", with_noise=False).schedule()
