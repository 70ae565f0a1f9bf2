from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import VQModel

from leaf_seg.networks import LatentEncoder, initial_autoencoder
from leaf_seg.networks.reconstruction import ReconstructionNetwork
from leaf_seg.networks.vector_quantization import LearningCodebook, quantize

CODES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
LATENT = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.7, 0.2]]).T.reshape(1, 2, 1, 3)


def test_nearest_codes_by_hand() -> None:
    latent = LATENT.clone().requires_grad_()
    codes = quantize(latent, CODES)
    torch.testing.assert_close(codes, torch.tensor([[1.0, 0], [0, 1], [1, 0]]).T.reshape(1, 2, 1, 3))
    weights = torch.rand_like(codes)
    (codes * weights).sum().backward()
    assert latent.grad is not None
    assert torch.equal(latent.grad, weights)  # handed on as it is


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_close_codes_are_told_apart_in_half_precision(kind: torch.dtype) -> None:
    codebook = torch.linspace(100, 101, 512)[:, None].to(kind)
    latent = codebook[::7].T.reshape(1, 1, 1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantize(latent, codebook), latent.float())


def test_codes_move_to_the_latents_that_are_nearest() -> None:
    embedding = torch.nn.Embedding.from_pretrained(CODES.clone(), freeze=False)
    codebook = LearningCodebook(embedding)
    codes, loss = codebook(LATENT)
    used = torch.tensor([[1.0, 0], [0, 1], [1, 0]]).T.reshape(1, 2, 1, 3)
    torch.testing.assert_close(codes, used)
    torch.testing.assert_close(loss, 0.25 * (LATENT - used).square().mean())
    # The sums begin at one latent each, the code itself, and look back 100 steps.
    second = (0.99 * CODES[1] + 0.01 * torch.tensor([1.6, 0.4])) / (0.99 + 0.01 * 2)
    torch.testing.assert_close(embedding.weight[1], second, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(embedding.weight[3], CODES[3], rtol=1e-3, atol=1e-4)  # of none
    assert not embedding.weight.requires_grad
    before = embedding.weight.clone()
    codebook.eval()(LATENT)
    assert torch.equal(embedding.weight, before)


def test_training_moves_encoder_decoder_and_codebook(make_autoencoder: Callable[..., Any]) -> None:
    network = ReconstructionNetwork(make_autoencoder("vq")).train()
    before = network.autoencoder.quantize.embedding.weight.clone()
    output = network(torch.rand(2, 3, 16, 16))
    (output["reconstruction"].square().mean() + output["codebook_loss"]).backward()
    for part in ("encoder", "quant_conv", "post_quant_conv", "decoder"):
        gradients = [parameter.grad for parameter in network.autoencoder.get_submodule(part).parameters()]
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), part
    assert not torch.equal(network.autoencoder.quantize.embedding.weight, before)


def test_a_new_codebook_reaches_as_far_as_latents_do() -> None:
    new = initial_autoencoder({"_class_name": "VQModel", "num_vq_embeddings": 512, "latent_channels": 2})
    assert isinstance(new, VQModel)
    assert float(new.quantize.embedding.weight.std()) == pytest.approx(1, abs=0.1)


def test_an_encoder_that_trains_leaves_the_codebook(make_autoencoder: Callable[..., Any]) -> None:
    encoder = LatentEncoder(make_autoencoder("vq"))
    encoder(torch.rand(1, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert "codebook" in dict(encoder.named_buffers())
