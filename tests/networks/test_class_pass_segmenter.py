from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leaf_seg.data import ModelSettings
from leaf_seg.diffusion import Ddim
from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.networks import ClassPassSegmenter, MaskCodec, build_conditional_unet
from leaf_seg.weights import load_network, save_model
from tests.conftest import TINY_UNET

Make = Callable[..., ClassPassSegmenter]
SDSEG = {"parameterization": "eps", "image_latent_first": False, "ldm_schedule": True, "scaled": False}


@pytest.fixture
def make(make_segmenter: Make) -> Make:
    return lambda *arguments, **options: make_segmenter(*arguments, kind=ClassPassSegmenter, **options)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 3])
def test_a_pass_for_each_class_by_hand(num_steps: int, make: Make) -> None:
    """All of them in one batch are K passes, each with the same noise and its class."""
    network = make(3, (16, 24), sampler=Ddim(num_steps), **SDSEG)
    image = torch.rand(2, 3, 16, 24)
    noise = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    image_latent = network.encode_image(image)

    def told(k: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        def predict_clean(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            labels = torch.tensor([k, k])
            output = network.unet(torch.cat([noisy, image_latent], dim=1), timesteps, class_labels=labels).sample
            return network.schedule.clean_latent(output, noisy, timesteps)

        return predict_clean

    means = []
    for k in range(3):
        clean = network.sampler(told(k), noise, network.schedule)
        means.append(network.mask_decoder(clean).mean(dim=1) * (-1 if k == 0 else 1))
    found = network(image)
    torch.testing.assert_close(found, torch.stack(means, dim=1).softmax(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 16, 24))
    assert (means[1] - means[2]).abs().max() > 1e-3  # the class matters
    torch.testing.assert_close(found[1:], network(image[1:]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_hypotheses_are_the_answers_of_models_with_these_seeds(make: Make) -> None:
    network, image = make(noise_seed=3), torch.rand(3, 3, 16, 16)
    encoded: list[int] = []
    network.image_encoder.register_forward_hook(lambda module, inputs, _: encoded.append(len(inputs[0])))
    found = network.hypotheses(image, seeds=(3, 9), batch_size=4)
    expected = torch.stack([make(noise_seed=seed)(image) for seed in (3, 9)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert encoded == [3]
    assert network.noise.shape == (1, 12, 4, 4)


@torch.no_grad()
def test_training_forward_is_of_the_class_that_is_given(make: Make) -> None:
    network, image = make(**SDSEG), torch.rand(2, 3, 16, 16)
    latent, timesteps, labels = torch.randn(2, 4, 4, 4), torch.tensor([5, 700]), torch.tensor([2, 0])
    output = network(image, latent, timesteps, class_labels=labels)
    joined = torch.cat([latent, network.encode_image(image)], dim=1)
    torch.testing.assert_close(output, network.unet(joined, timesteps, labels).sample)
    of_all = network(image, latent.repeat(1, 3, 1, 1), timesteps).unflatten(1, (3, 4))
    torch.testing.assert_close(of_all[torch.arange(2), labels], output, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="class_labels need mask_latent and timesteps"):
        network(image, class_labels=labels)


@torch.no_grad()
def test_is_saved_and_loaded(make: Make, tmp_path: Path) -> None:
    network = make()
    save_model(network, ModelSettings(["background", "a", "b"], network.image_size), tmp_path)
    loaded, image = load_network(tmp_path), torch.rand(2, 3, 16, 16)
    assert type(loaded) is ClassPassSegmenter
    assert torch.equal(loaded(image), network(image))


@torch.no_grad()
def test_half_precision(make: Make) -> None:
    image = torch.rand(2, 3, 16, 16)
    expected = make()(image)
    fast = FastNetwork(make(), torch.device("cpu"), "bf16", channels_last=True)
    torch.testing.assert_close(fast(image), expected, rtol=0, atol=0.03)


def test_parts_that_do_not_fit(make: Make) -> None:
    unet = build_conditional_unet({**TINY_UNET, "num_class_embeds": 3})
    with pytest.raises(ValueError, match=r"4 classes need as many class embeddings .* found 3 and 4"):
        make(4, unet=unet)
    arguments = {name: getattr(make(3), name) for name in ("image_encoder", "unet", "mask_decoder", "diffusion")}
    with pytest.raises(ValueError, match="found 3 and 1"):
        ClassPassSegmenter(codec=MaskCodec(3), image_size=(16, 16), **arguments)
