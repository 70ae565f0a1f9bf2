from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.resnet import ResnetBlock2D

from leaf_seg.diffusion import Ddim
from leaf_seg.networks import (
    LatentDecoder,
    LatentEncoder,
    LatentSegmenter,
    MaskCodec,
    build_conditional_unet,
    load_autoencoder,
)
from leaf_seg.networks.autoencoder import Autoencoder
from tests.conftest import segmenter_parts

Make = Callable[..., LatentSegmenter]


@torch.no_grad()
def same_outputs(one: torch.nn.Module, other: torch.nn.Module, batch: int = 2, atol: float = 0.0) -> bool:
    image = torch.rand(batch, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    return torch.allclose(one(image), other(image), rtol=0, atol=atol)


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
@pytest.mark.parametrize("num_classes", [2, 4, 6])
def test_probabilities_of_grey_and_colour_images(autoencoder: str, num_classes: int, make_segmenter: Make) -> None:
    network = make_segmenter(num_classes, (16, 24), autoencoder)
    grey = torch.rand(2, 1, 16, 24)
    probabilities = network(grey)
    assert probabilities.shape == (2, num_classes, 16, 24)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 16, 24))
    assert probabilities.std(dim=(2, 3)).max() > 1e-3
    assert torch.equal(network(grey.expand(-1, 3, -1, -1)), probabilities)


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_one_step_by_hand(
    parameterization: str, make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    network = make_segmenter(parameterization=parameterization)
    autoencoder = make_autoencoder().eval()  # the same seed
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        image_latent = LatentEncoder(autoencoder)(2 * image - 1)
        noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
        output = network.unet(torch.cat([image_latent, noise], dim=1), 999).sample
        scheduler = DDIMScheduler(1000, 0.0015, 0.0155, clip_sample=False)
        alpha, sigma = scheduler.alphas_cumprod[-1].sqrt(), (1 - scheduler.alphas_cumprod[-1]).sqrt()
        clean = {"x0": output, "v": alpha * noise - sigma * output, "eps": (noise - sigma * output) / alpha}
        decoded = LatentDecoder(autoencoder)(clean[parameterization])
        inside = (decoded.clamp(-1, 1) + 1)[:, :2] / 2
        unnormalised = torch.cat([(1 - inside).prod(dim=1, keepdim=True), inside], dim=1)
        probabilities = network(image)
    torch.testing.assert_close(probabilities, unnormalised / unnormalised.sum(dim=1, keepdim=True))


def test_one_step_is_that_of_diffusers(make_segmenter: Make) -> None:
    names = {"x0": "sample", "v": "v_prediction", "eps": "epsilon"}
    output, noisy = torch.randn(2, 1, 4, 4, 4)
    for name, prediction_type in names.items():
        network = make_segmenter(parameterization=name)
        scheduler = DDIMScheduler(1000, 0.0015, 0.0155, clip_sample=False, prediction_type=prediction_type)
        scheduler.set_timesteps(1)
        expected = scheduler.step(output, 999, noisy).pred_original_sample
        torch.testing.assert_close(network.schedule.clean_latent(output, noisy, torch.tensor([999])), expected)


def test_training_forward_returns_the_unet_output(make_segmenter: Make) -> None:
    network = make_segmenter(6)
    image, latent, timesteps = torch.rand(2, 3, 16, 16), torch.randn(2, 8, 4, 4), torch.tensor([3, 999])
    output = network(image, latent, timesteps)
    assert output.shape == (2, 8, 4, 4)
    joined = torch.cat([network.encode_image(image), latent], dim=1)
    torch.testing.assert_close(output, network.unet(joined, timesteps).sample)
    output.square().mean().backward()
    for name in ("image_encoder.encoder.conv_in.weight", "unet.conv_in.weight"):
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_mask_latent_and_timesteps_go_together(make_segmenter: Make) -> None:
    network, image = make_segmenter(), torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="go together"):
        network(image, torch.randn(1, 4, 4, 4))
    with pytest.raises(ValueError, match="go together"):
        network(image, timesteps=torch.tensor([1]))


@pytest.mark.parametrize("parameterization", ["x0", "eps"])
def test_result_does_not_depend_on_the_batch(parameterization: str, make_segmenter: Make) -> None:
    network = make_segmenter(parameterization=parameterization)
    images = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_noise_seed(make_segmenter: Make) -> None:
    first, second = make_segmenter(noise_seed=3), make_segmenter(noise_seed=4)
    assert first.noise.shape == (1, 4, 4, 4)
    assert torch.equal(first.noise, make_segmenter(noise_seed=3).noise)
    assert torch.equal(first.noise, second.initial_noise(3))
    assert not torch.allclose(first.noise, second.noise)
    assert not same_outputs(first, second, atol=1e-4)
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(first(image, noise=second.noise), second(image))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16])
def test_hypotheses_are_the_answers_of_models_with_these_seeds(batch_size: int, make_segmenter: Make) -> None:
    """Whatever is drawn at a time, and however the pairs of image and seed fall into batches."""
    network = make_segmenter(noise_seed=3)
    image = torch.rand(3, 3, 16, 16)
    encoded, denoised = [], []
    network.image_encoder.register_forward_hook(lambda module, inputs, _: encoded.append(len(inputs[0])))
    network.unet.register_forward_hook(lambda module, inputs, _: denoised.append(len(inputs[0])))
    with torch.no_grad():
        found = network.hypotheses(image, seeds=(3, 9, 4), batch_size=batch_size)
        expected = torch.stack([make_segmenter(noise_seed=seed)(image) for seed in (3, 9, 4)])
    assert found.shape == (3, 3, 3, 16, 16)  # seeds, images, classes
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert encoded == [3]
    assert max(denoised) == min(batch_size, 9)
    assert sum(denoised) == 9
    assert network.noise_seeds(2) == range(3, 5)


def test_steps_of_ddim_are_those_of_diffusers(make_segmenter: Make) -> None:
    """A sampler of several steps in the segmenter's place for one."""
    network = make_segmenter(sampler=Ddim(5))
    image = torch.rand(2, 3, 16, 16)
    scheduler = DDIMScheduler(
        1000, 0.0015, 0.0155, clip_sample=False, prediction_type="sample", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(5)
    calls = []
    network.unet.register_forward_hook(lambda module, inputs, _: calls.append(inputs[1][0].item()))
    with torch.no_grad():
        latent, found = network.encode_image(image), network(image)
        assert calls == [999, 799, 599, 399, 199]
        noisy = network.noise.expand(2, -1, -1, -1)
        for timestep in scheduler.timesteps:
            output = network.denoise(latent, noisy, timestep.expand(2))
            noisy = scheduler.step(output, timestep, noisy).prev_sample
        expected = network.codec.decode(network.mask_decoder(noisy))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert LatentSegmenter.from_config(network.config).sampler == Ddim(5)


def test_noise_comes_from_its_own_generator(make_segmenter: Make) -> None:
    network = make_segmenter()
    state = torch.random.get_rng_state()
    network.initial_noise(1)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_deep_copy(autoencoder: str, make_segmenter: Make) -> None:
    network = make_segmenter(autoencoder=autoencoder)
    duplicate = copy.deepcopy(network)
    assert same_outputs(network, duplicate)
    torch.nn.init.zeros_(duplicate.unet.conv_out.weight)
    assert not same_outputs(network, duplicate, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
@pytest.mark.parametrize("num_classes", [3, 6])
def test_trace_runs_other_batches(autoencoder: str, num_classes: int, make_segmenter: Make) -> None:
    network = make_segmenter(num_classes, autoencoder=autoencoder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.rand(2, 3, 16, 16))
    for batch in (1, 2, 5):
        assert same_outputs(network, traced, batch, atol=1e-6)


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_built_again_from_its_config(autoencoder: str, make_segmenter: Make) -> None:
    network = make_segmenter(6, (24, 16), autoencoder, parameterization="v", noise_seed=7, encoder_dropout=0.1)
    again = LatentSegmenter.from_config(json.loads(json.dumps(network.config)))
    again.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, 24, 16)
    assert torch.equal(again.eval()(image), network(image))
    assert again.noise_seed == 7
    assert {block.dropout.p for block in again.image_encoder.modules() if isinstance(block, ResnetBlock2D)} == (
        {0.1} if autoencoder == "kl" else set()
    )
    assert json.dumps(again.config) == json.dumps(network.config)


def test_attention_heads_and_schedule_survive_the_config(make_segmenter: Make) -> None:
    unet = build_conditional_unet(
        {
            "block_out_channels": [8, 16],
            "layers_per_block": 1,
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
            "attention_head_dim": 8,
            "num_attention_heads": 4,
            "norm_num_groups": 4,
        }
    )
    scheduler = DDIMScheduler(500, 0.0015, 0.0155, "scaled_linear", clip_sample=False)
    network = make_segmenter(unet=unet, scheduler=scheduler)
    again = LatentSegmenter.from_config(json.loads(json.dumps(network.config)))
    again.load_state_dict(network.state_dict())
    assert again.schedule.last == 499
    assert torch.equal(again.schedule.alphas, network.schedule.alphas)
    assert same_outputs(network, again.eval())


def test_config_of_a_loaded_autoencoder_is_plain_and_names_no_folder(
    make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder], tmp_path: Path
) -> None:
    make_autoencoder().save_pretrained(tmp_path)
    parts = segmenter_parts(load_autoencoder(tmp_path), {})
    network = LatentSegmenter(unet=make_segmenter().unet, codec=MaskCodec(3), image_size=(16, 16), **parts)
    assert str(tmp_path) not in json.dumps(network.config)
    assert network.config["mask_decoder"]["autoencoder"]["scaling_factor"] == 0.7


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_decoder_is_frozen_and_stays_in_evaluation_mode(autoencoder: str, make_segmenter: Make) -> None:
    network = make_segmenter(autoencoder=autoencoder).train()
    assert not any(module.training for module in network.mask_decoder.modules())
    assert not any(parameter.requires_grad for parameter in network.mask_decoder.parameters())
    for part in (network.unet, network.image_encoder):
        assert all(module.training for module in part.modules())
        assert all(parameter.requires_grad for parameter in part.parameters())
    assert not any(module.training for module in network.eval().modules())


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
def test_decoder_that_is_trained(autoencoder: str, make_segmenter: Make) -> None:
    network = make_segmenter(autoencoder=autoencoder, train_decoder=True).train()
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert LatentSegmenter.from_config(network.config).mask_decoder.trainable


def test_parts_are_copies_of_the_autoencoder(
    make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    autoencoder = make_autoencoder().requires_grad_(False).eval()
    first, second = (
        LatentSegmenter(unet=make_segmenter().unet, codec=MaskCodec(3), image_size=(16, 16), **parts)
        for parts in (segmenter_parts(autoencoder, {}) for _ in range(2))
    )
    ours = {parameter.data_ptr() for parameter in first.image_encoder.parameters()}
    assert ours.isdisjoint({parameter.data_ptr() for parameter in autoencoder.parameters()})
    assert ours.isdisjoint({parameter.data_ptr() for parameter in second.image_encoder.parameters()})
    assert all(parameter.requires_grad for parameter in first.image_encoder.parameters())  # though it came frozen


def test_holds_nothing_that_inference_does_not_use(make_segmenter: Make) -> None:
    network = make_segmenter()
    network(torch.rand(1, 3, 16, 16)).square().sum().backward()
    unused = [
        name for name, parameter in network.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert not unused
    parts = {tuple(name.split(".")[:2]) for name in network.state_dict()}
    assert {part for part in parts if part[0] != "unet"} == {
        ("noise",),
        ("image_encoder", "encoder"),
        ("image_encoder", "quant_conv"),
        ("mask_decoder", "decoder"),
        ("mask_decoder", "post_quant_conv"),
    }


def test_encoder_dropout_acts_in_training_only(make_segmenter: Make) -> None:
    network = make_segmenter(encoder_dropout=0.5)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(network.encode_image(image), network.encode_image(image))
    network.train()
    assert not torch.equal(network.encode_image(image), network.encode_image(image))


@pytest.mark.parametrize("size", [(12, 16), (16, 20), (18, 16), (16, 7)])
def test_sizes_that_do_not_fit(size: tuple[int, int], make_segmenter: Make) -> None:
    with pytest.raises(ValueError, match=r"image_size .* does not fit"):
        make_segmenter(image_size=size)


@pytest.mark.parametrize("num_classes", [5, 8])
def test_channels_that_do_not_fit(num_classes: int, make_segmenter: Make) -> None:
    unet = make_segmenter(3).unet
    with pytest.raises(ValueError, match=rf"{num_classes} classes need U-Net channels .* found \(8, 4\)"):
        make_segmenter(num_classes, unet=unet)


def test_unknown_parameterization(make_segmenter: Make) -> None:
    with pytest.raises(ValueError, match="expected one of x0, v, eps"):
        make_segmenter(parameterization="epsilon")


def test_clipping_scheduler(make_segmenter: Make) -> None:
    """As the published LEAF pipeline: cut in inference, not in the loss."""
    plain, clipping = (make_segmenter(scheduler=DDIMScheduler(clip_sample=clip)) for clip in (False, True))
    image_latent = torch.randn(1, 4, 4, 4)
    output = 3 * torch.randn(1, 4, 4, 4)
    for network in (plain, clipping):
        network.denoise = lambda *_: output  # type: ignore[method-assign]
        assert torch.equal(network.schedule.clean_latent(output, output, torch.tensor([9])), output)
    with torch.no_grad():
        cut = plain.codec.decode(plain.mask_decoder(output.clamp(-1, 1)))
        assert torch.equal(clipping.segment_latent(image_latent, clipping.noise), cut)
        assert not torch.equal(plain.segment_latent(image_latent, plain.noise), cut)
    again = LatentSegmenter.from_config(clipping.config)
    assert again.schedule.clip_range == 1.0


def test_input_of_sdseg(make_segmenter: Make) -> None:
    """[noisy mask latent, image latent], and the image latent as it leaves the encoder."""
    ours, theirs = make_segmenter(), make_segmenter(image_latent_first=False, scaled=False)
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        latent = theirs.encode_image(image)
        torch.testing.assert_close(latent * 0.7, ours.encode_image(image))
        weight = theirs.unet.conv_in.weight
        ours.unet.conv_in.weight.copy_(torch.cat([weight[:, 4:], weight[:, :4]], dim=1))
        mask, timesteps = torch.randn(1, 4, 4, 4), torch.tensor([5])
        torch.testing.assert_close(theirs.denoise(latent, mask, timesteps), ours.denoise(latent, mask, timesteps))


def test_built_without_weights(make_segmenter: Make) -> None:
    """On the meta device: no memory for weights that a file brings, but noise and schedule are there."""
    network = make_segmenter(ldm_schedule=True, parameterization="eps")
    with torch.device("meta"):
        empty = LatentSegmenter.from_config(network.config)
    assert all(parameter.is_meta for parameter in empty.parameters())
    empty.load_state_dict(network.state_dict(), assign=True)
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(empty.eval()(image), network(image))
    assert [p.requires_grad for p in empty.parameters()] == [p.requires_grad for p in network.parameters()]
