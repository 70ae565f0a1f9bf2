"""What every baseline has to do to stand in for a LatentSegmenter."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import (
    NETWORKS,
    BasicUNetSegmenter,
    DynUNetSegmenter,
    LatentSegmenter,
    ProbabilisticUNetSegmenter,
    SavedNetwork,
    SegResNetSegmenter,
    SwinUNetSegmenter,
    TransUNetSegmenter,
)
from leaf_seg.networks.logits_network import LogitsNetwork
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, save_model

SIZE = (64, 96)
SMALL: dict[type[SavedNetwork], dict[str, Any]] = {
    BasicUNetSegmenter: {"features": (4, 4, 8, 8, 8, 4)},
    DynUNetSegmenter: {"filters": (4, 8, 8)},
    ProbabilisticUNetSegmenter: {"features": (4, 4, 8, 8, 8, 4), "latent_dim": 2},
    SegResNetSegmenter: {"init_filters": 8, "blocks_down": (1, 1, 2)},
    SwinUNetSegmenter: {"feature_size": 12, "depths": (1, 1, 1, 1)},
    TransUNetSegmenter: {"filters": (4, 8, 8), "hidden_size": 16, "num_layers": 2, "num_heads": 2},
}
every_baseline = pytest.mark.parametrize("kind", list(SMALL))
every_logits_network = pytest.mark.parametrize("kind", [kind for kind in SMALL if issubclass(kind, LogitsNetwork)])


def make(kind: type[SavedNetwork], num_classes: int = 3, seed: int = 0, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"num_classes": num_classes, "image_size": SIZE} | SMALL[kind]
    return kind(**(options | arguments)).eval()


def test_every_baseline_is_tested_here() -> None:
    assert {kind for kind in NETWORKS.values() if not issubclass(kind, LatentSegmenter)} == set(SMALL)


@every_baseline
@pytest.mark.parametrize("num_classes", [2, 3, 6])
@pytest.mark.parametrize("training", [True, False])
def test_probabilities_of_grey_and_colour_images(kind: type[SavedNetwork], num_classes: int, training: bool) -> None:
    network = make(kind, num_classes).train(training)
    grey = torch.rand(2, 1, *SIZE)
    probabilities = network(grey)
    assert probabilities.shape == (2, num_classes, *SIZE)
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, *SIZE))
    assert probabilities.std(dim=(2, 3)).max() > 1e-3
    torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), probabilities)
    assert not torch.allclose(network(torch.rand(2, 3, *SIZE)), probabilities, atol=1e-3)


@every_logits_network
def test_logits_are_those_of_the_probabilities(kind: type[SavedNetwork]) -> None:
    network, image = make(kind), torch.rand(2, 3, *SIZE)
    logits = network(image, return_logits=True)
    assert logits.min() < 0
    torch.testing.assert_close(logits.softmax(dim=1), network(image))


@every_logits_network
def test_output_is_fp32_under_mixed_precision(kind: type[SavedNetwork]) -> None:
    network, image = make(kind), torch.rand(2, 3, *SIZE)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, probabilities = network(image, return_logits=True), network(image)
    assert logits.dtype == probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, *SIZE))
    torch.testing.assert_close(probabilities, network(image), rtol=0, atol=0.05)


@every_logits_network
def test_training_reaches_every_parameter(kind: type[SavedNetwork]) -> None:
    """Else DistributedDataParallel would wait for gradients that never come."""
    network = make(kind).train()
    network(torch.rand(2, 3, *SIZE), return_logits=True).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    kernels = [parameter.grad for parameter in network.parameters() if parameter.ndim == 4]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in kernels)


@every_logits_network
def test_weight_average_covers_all_of_it(kind: type[SavedNetwork]) -> None:
    """Running statistics would be buffers, which the average leaves out; constants such as indices may be."""
    assert not [buffer for buffer in make(kind).buffers() if buffer.is_floating_point()]


@every_baseline
@torch.no_grad()
def test_result_does_not_depend_on_the_batch(kind: type[SavedNetwork]) -> None:
    network, images = make(kind), torch.rand(5, 3, *SIZE)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-5, atol=1e-5)


@every_baseline
def test_built_again_from_its_config(kind: type[SavedNetwork]) -> None:
    network = make(kind, 6, dropout=0.25)
    assert (network.num_classes, network.image_size) == (6, SIZE)
    again = kind.from_config(json.loads(json.dumps(network.config)))
    again.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, *SIZE)
    assert torch.equal(again.eval()(image), network(image))
    assert again.config == network.config
    dropouts = [module.p for module in again.modules() if isinstance(module, torch.nn.modules.dropout._DropoutNd)]
    assert set(dropouts) == {0.25}


@every_baseline
def test_dropout_acts_in_training_only(kind: type[SavedNetwork]) -> None:
    network, image = make(kind, dropout=0.5), torch.rand(1, 3, *SIZE)
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


@pytest.mark.slow
@every_baseline
@torch.no_grad()
def test_copy_and_trace(kind: type[SavedNetwork]) -> None:
    network, image = make(kind), torch.rand(3, 3, *SIZE)
    assert torch.equal(copy.deepcopy(network)(image), network(image))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.rand(2, 3, *SIZE))
    torch.testing.assert_close(traced(image), network(image))


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (40, 72)])
def test_sizes_that_are_no_multiple_of_16(size: tuple[int, int]) -> None:
    assert make(BasicUNetSegmenter, image_size=size)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        (BasicUNetSegmenter, (16, 16), "at least 32"),
        (BasicUNetSegmenter, (31, 64), "at least 32"),
        (DynUNetSegmenter, (32, 30), "at least 8, multiples of 4"),
        (DynUNetSegmenter, (4, 32), "at least 8, multiples of 4"),
        (SegResNetSegmenter, (32, 34), "at least 4, multiples of 4"),
        (SwinUNetSegmenter, (64, 48), "at least 64, multiples of 32"),
        (TransUNetSegmenter, (64, 44), "at least 16, multiples of 8"),
    ],
)
def test_sizes_that_do_not_fit(kind: type[SavedNetwork], size: tuple[int, int], expected: str) -> None:
    with pytest.raises(InputError, match=rf"image_size .* does not fit.*{expected}"):
        make(kind, image_size=size)


def test_features_of_another_number_of_levels() -> None:
    with pytest.raises(InputError, match=r"features is \[8, 16\]; expected six"):
        make(BasicUNetSegmenter, features=(8, 16))


def test_group_norm_needs_multiples_of_8() -> None:
    with pytest.raises(InputError, match="init_filters is 12; expected a multiple of 8"):
        make(SegResNetSegmenter, init_filters=12)


def test_settings_of_transformers() -> None:
    with pytest.raises(InputError, match="hidden_size is 20; expected a multiple of num_heads, 8"):
        make(TransUNetSegmenter, hidden_size=20, num_heads=8)
    with pytest.raises(InputError, match=r"filters is \[8\]; expected the channels of at least two"):
        make(TransUNetSegmenter, filters=(8,))
    with pytest.raises(InputError, match="feature_size is 16; expected a multiple of 12"):
        make(SwinUNetSegmenter, feature_size=16)
    with pytest.raises(InputError, match=r"depths is \[2, 2\]; expected the number of blocks of each of four"):
        make(SwinUNetSegmenter, depths=(2, 2))


def test_positions_of_tokens_count() -> None:
    network = make(TransUNetSegmenter)
    image = torch.rand(1, 3, *SIZE)
    before = network(image)
    with torch.no_grad():
        network.positions.add_(torch.randn_like(network.positions))
    assert not torch.allclose(network(image), before, atol=1e-3)


def test_dropout_strikes_out_no_logits() -> None:
    logits = make(DynUNetSegmenter, dropout=0.5).train()(torch.rand(1, 3, *SIZE), return_logits=True)
    assert (logits != 0).all()


@every_baseline
def test_stored_in_half_precision(kind: type[SavedNetwork], tmp_path: Path) -> None:
    network = make(kind)
    settings = ModelSettings(["background", "a", "b"], SIZE)
    sizes = {}
    for storage in ("fp32", "fp16"):
        save_model(network, settings, tmp_path / storage, storage=storage)
        state = torch.load(tmp_path / storage / "model.pt")
        sizes[storage] = sum(value.nbytes for value in state.values() if value.is_floating_point())
    assert sizes["fp16"] == sizes["fp32"] / 2
    assert (tmp_path / "fp16" / "model.pt").stat().st_size < (tmp_path / "fp32" / "model.pt").stat().st_size
    loaded = load_network(tmp_path / "fp16").state_dict()
    floats = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    assert {loaded[name].dtype for name in floats} == {torch.float32}
    assert all(torch.equal(loaded[name], value.half().float()) for name, value in floats.items())


def test_filters_of_too_few_levels() -> None:
    with pytest.raises(InputError, match=r"filters is \[8, 16\]; expected the channels of at least three"):
        make(DynUNetSegmenter, filters=(8, 16))
