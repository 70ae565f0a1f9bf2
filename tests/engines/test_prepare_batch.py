from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.data import MetaTensor

from leaf_seg.diffusion import TimestepSampler
from leaf_seg.engines import PrepareDenoisingBatch, PrepareImageBatch, PreparePosteriorBatch, PrepareSegmentationBatch
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder

Make = Callable[..., LatentSegmenter]


def make_batch(num_classes: int) -> dict[str, torch.Tensor]:
    return {
        "image": MetaTensor(torch.rand(3, 3, 16, 16)),
        "label": MetaTensor(torch.randint(0, num_classes, (3, 1, 16, 16), dtype=torch.uint8)),
    }


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
@pytest.mark.parametrize("num_classes", [2, 6])
def test_true_target_leads_back_to_the_label(
    parameterization: str, num_classes: int, make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    network = make_segmenter(num_classes, parameterization=parameterization)
    encoder = MaskEncoder(make_autoencoder(), MaskCodec(num_classes))
    batch = make_batch(num_classes)
    image, targets, (noisy, timesteps), keywords = PrepareDenoisingBatch(network.schedule, encoder, TimestepSampler())(
        batch, "cpu"
    )

    assert type(image) is type(targets["label"]) is torch.Tensor  # no MetaTensor slows the network down
    assert torch.equal(image, batch["image"].as_subclass(torch.Tensor))
    assert torch.equal(targets["label"], batch["label"].as_subclass(torch.Tensor))
    assert targets["noisy"] is noisy
    assert targets["timesteps"] is timesteps
    assert not keywords

    clean = encoder(targets["label"])
    alpha, sigma = network.schedule.at(timesteps)
    restored = network.schedule.clean_latent(targets["target"], noisy, timesteps)
    torch.testing.assert_close(restored, clean, rtol=0, atol=1e-4)
    noise = (noisy - alpha * clean) / sigma
    assert noise.std().item() == pytest.approx(1, abs=0.25)
    assert network(image, noisy, timesteps).shape == targets["target"].shape


def test_the_mask_encoder_has_a_precision_and_its_latents_are_fp32(
    make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    network, encoder = make_segmenter(), MaskEncoder(make_autoencoder(), MaskCodec(3))
    batch = make_batch(3)
    latents = {}
    for precision in ("fp32", "bf16"):
        prepare = PrepareDenoisingBatch(network.schedule, encoder, TimestepSampler(), precision)
        latents[precision] = prepare(batch, "cpu")[1]["target"]
    assert latents["bf16"].dtype == torch.float32
    error = (latents["bf16"] - latents["fp32"]).std() / latents["fp32"].std()
    assert 0 < error < 0.03


def test_noise_and_timesteps_are_drawn_anew_and_by_the_seed(
    make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    prepare = PrepareDenoisingBatch(
        make_segmenter().schedule, MaskEncoder(make_autoencoder(), MaskCodec(3)), TimestepSampler()
    )
    batch = make_batch(3)
    torch.manual_seed(1)
    (_, _, first, _), (_, _, second, _) = prepare(batch), prepare(batch)
    torch.manual_seed(1)
    _, _, again, _ = prepare(batch)
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_uses_the_sampler(make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]) -> None:
    sampler = TimestepSampler(terminal_probability=1.0)
    prepare = PrepareDenoisingBatch(make_segmenter().schedule, MaskEncoder(make_autoencoder(), MaskCodec(3)), sampler)
    assert prepare(make_batch(3))[2][1].tolist() == [999, 999, 999]


def test_image_is_input_and_target() -> None:
    batch = {"image": torch.rand(2, 3, 4, 4), "label": torch.rand(2, 1, 4, 4)}
    for key in batch:
        inputs, targets = PrepareImageBatch(key)(batch, "cpu", dtype=torch.float64)
        assert inputs is targets
        assert torch.equal(inputs, batch[key].double())


def test_image_label_and_the_request_for_logits() -> None:
    batch = make_batch(3)
    image, label, arguments, keywords = PrepareSegmentationBatch()(batch, "cpu")
    assert type(image) is type(label) is torch.Tensor
    assert torch.equal(image, batch["image"].as_subclass(torch.Tensor))
    assert torch.equal(label, batch["label"].as_subclass(torch.Tensor))
    network = BasicUNetSegmenter(3, (32, 32), features=(4, 4, 4, 4, 4, 4))
    logits = network(torch.rand(2, 3, 32, 32), *arguments, **keywords)
    assert logits.min() < 0


def test_a_network_that_sees_the_label_is_given_it_with_noise() -> None:
    batch = make_batch(3)
    torch.manual_seed(5)
    image, target, (label, noise), keywords = PreparePosteriorBatch(latent_dim=7)(batch, "cpu")
    torch.manual_seed(5)
    assert torch.equal(noise, torch.randn(3, 7))  # of PyTorch's generator, which a checkpoint has
    assert label is target
    assert torch.equal(target, batch["label"].as_subclass(torch.Tensor))
    assert type(image) is type(label) is torch.Tensor
    assert not keywords
