"""Hypotheses by dropout, of every kind of network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from leaf_seg.diffusion.sampling import Ddim
from leaf_seg.inference import SegmentationInferer
from leaf_seg.inference.auto_network import AutoNetwork
from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, SavedNetwork, build_conditional_unet
from leaf_seg.networks.latent_mapper import LatentMapper
from leaf_seg.networks.mc_dropout import DROPOUTS, McDropout
from leaf_seg.networks.packed_dropout import PackedDropout, pack_dropout
from leaf_seg.runtime.errors import InputError
from tests.conftest import TINY_UNET
from tests.networks.test_baselines import SMALL, every_baseline, make

Make = Callable[..., LatentSegmenter]
DROPPED = 0.3


def leaf(make_segmenter: Make, **options: Any) -> LatentSegmenter:
    unet = build_conditional_unet(TINY_UNET | {"dropout": DROPPED}, num_mask_latents=1)
    return make_segmenter(unet=unet, encoder_dropout=DROPPED, **options)


def gms(make_segmenter: Make) -> LatentSegmenter:
    mapper = LatentMapper(block_out_channels=(8,), attention_head_dim=4, norm_num_groups=4, dropout=DROPPED)
    return make_segmenter(unet=mapper, with_noise=False)


@torch.no_grad()
def check_hypotheses(network: SavedNetwork, seeds: list[int]) -> None:
    """What hypotheses by dropout have to be, whatever the network."""
    asked, images = McDropout(network), torch.rand(3, 3, *network.image_size)
    own = network(images)
    asked_of = [
        m for name, m in network.named_modules() if not name.startswith("posterior")
    ]  # which training asks alone
    layers = [m for m in asked_of if isinstance(m, DROPOUTS) and m.p > 0]
    called: dict[nn.Module, bool] = {}
    for layer in layers:
        layer.register_forward_pre_hook(lambda layer, inputs: called.update({layer: layer.training}))
    assert list(asked.noise_seeds(3)) == seeds
    found = asked.hypotheses(images, seeds)
    assert found.shape == (3, 3, network.num_classes, *network.image_size)
    assert found.std(dim=0).amax(dim=(1, 2, 3)).min() > 1e-3  # of each image
    assert called == dict.fromkeys(layers, False)  # each layer took part, and is not in training
    assert torch.equal(asked.hypotheses(images, seeds), found)
    torch.testing.assert_close(asked.hypotheses(images[1:2], seeds[2:]), found[2:, 1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(asked.hypotheses(images, seeds, batch_size=2), found, rtol=1e-4, atol=1e-5)
    assert torch.equal(asked(images), own)  # without dropout, and the network is as it was


@every_baseline
def test_of_every_baseline(kind: type[SavedNetwork]) -> None:
    check_hypotheses(make(kind, dropout=DROPPED), [0, 1, 2])


def test_of_latent_diffusion_with_its_noise(make_segmenter: Make) -> None:
    network = leaf(make_segmenter, noise_seed=7)
    check_hypotheses(network, [7, 8, 9])
    check_hypotheses(leaf(make_segmenter, noise_seed=7, sampler=Ddim(3)), [7, 8, 9])
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, DROPOUTS):
                layer.p *= 1e-6  # what is left is the noise
        by_noise = network.hypotheses(image, [7, 8])
        torch.testing.assert_close(McDropout(network).hypotheses(image, [7, 8]), by_noise, rtol=1e-4, atol=1e-4)


def test_of_a_mapper_without_noise(make_segmenter: Make) -> None:
    check_hypotheses(gms(make_segmenter), [0, 1, 2])


def test_patterns_drop_the_share_of_the_layer_and_keep_the_mean() -> None:
    class Layers(nn.Sequential):
        num_classes, image_size, draws_noise = 1, (64, 64), False

    network: Any = Layers(nn.Dropout(0.25), nn.Dropout2d(0.5))
    found = McDropout(network.eval()).hypotheses(torch.ones(1, 200, 64, 64), [0])[0, 0]
    whole = found.flatten(1).amax(dim=1) == 0
    assert 0.35 < whole.float().mean() < 0.65  # channels
    rest = found[~whole]
    assert torch.equal(rest.unique(), torch.tensor([0, 1 / 0.75 / 0.5]))
    assert (rest == 0).float().mean() == pytest.approx(0.25, abs=0.01)


def test_a_packed_layer_drops_the_same() -> None:
    network, image = make(BasicUNetSegmenter, dropout=DROPPED), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = McDropout(network).hypotheses(image, [0, 1])
        pack_dropout(network)
        assert any(isinstance(layer, PackedDropout) for layer in network.modules())
        assert torch.equal(McDropout(network).hypotheses(image, [0, 1]), found)


@pytest.mark.parametrize("kind", [BasicUNetSegmenter, LatentSegmenter])
def test_without_dropout_it_is_refused(kind: type[SavedNetwork], make_segmenter: Make) -> None:
    network = make(kind) if kind in SMALL else make_segmenter()
    with pytest.raises(InputError, match=rf"this {kind.__name__} was trained without dropout.*--dropout 0\.1"):
        McDropout(network)


def test_one_hypothesis_is_refused_and_one_of_a_seed_is_not() -> None:
    network = McDropout(make(BasicUNetSegmenter, dropout=DROPPED))
    cpu = torch.device("cpu")
    for asked in (network, FastNetwork(network, cpu)):
        with pytest.raises(InputError, match=r"num_samples is 1.* 2 or more"):
            SegmentationInferer((64, 96)).check(asked, cpu)
        SegmentationInferer((64, 96), num_samples=2).check(asked, cpu)
        SegmentationInferer((64, 96), noise_seed=3).check(asked, cpu)


def test_half_precision_weights_drop_the_same(caplog: pytest.LogCaptureFixture) -> None:
    image, cpu = torch.rand(2, 3, 64, 96), torch.device("cpu")
    with torch.no_grad(), caplog.at_level("INFO"):
        network = McDropout(make(BasicUNetSegmenter, dropout=DROPPED))
        found = network.hypotheses(image, [0, 1])
        torch.testing.assert_close(AutoNetwork(network, cpu).hypotheses(image, [0, 1]), found)
        half = FastNetwork(network, cpu, "bf16", compile="cudagraphs")
        torch.testing.assert_close(half.hypotheses(image, [0, 1]), found, rtol=0, atol=0.05)
    assert "McDropout is neither compiled nor captured" in caplog.text


def test_it_is_no_model_to_be_saved() -> None:
    with pytest.raises(InputError, match="McDropout asks saved models in another way"):
        _ = McDropout(make(BasicUNetSegmenter, dropout=DROPPED)).config
    with pytest.raises(InputError, match="no model to be saved"):
        McDropout.from_config({})
