"""What the Probabilistic U-Net draws; what every baseline has to do is tested in test_baselines."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from leaf_seg.engines import trainable_parameters
from leaf_seg.inference.half_weights import set_weights
from leaf_seg.losses import ElboLoss
from leaf_seg.networks import ProbabilisticUNetSegmenter
from leaf_seg.runtime.errors import InputError

K, L, SIZE = 3, 4, (32, 48)


def make(**options: Any) -> ProbabilisticUNetSegmenter:
    """With a prior that varies, which the first random weights hardly do."""
    torch.manual_seed(0)
    network = ProbabilisticUNetSegmenter(K, SIZE, features=(4, 4, 8, 8, 8, 4), latent_dim=L, **options)
    with torch.no_grad():
        network.prior.to_gaussian.bias.add_(torch.linspace(-1, 1, 2 * L))
    return network.eval()


@torch.no_grad()
def test_hypotheses_are_those_of_their_seeds_and_the_own_answer_is_the_first() -> None:
    network, images = make(noise_seed=7), torch.rand(5, 3, *SIZE)
    assert list(network.noise_seeds(3)) == [7, 8, 9]
    drawn = network.hypotheses(images, network.noise_seeds(3), batch_size=4)
    assert drawn.shape == (3, 5, K, *SIZE)
    torch.testing.assert_close(drawn[0], network(images))
    torch.testing.assert_close(drawn[2], make(noise_seed=9)(images))
    torch.testing.assert_close(drawn[1, 3:4], network.hypotheses(images[3:4], [8])[0])
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3
    torch.testing.assert_close(drawn.sum(dim=2), torch.ones(3, 5, *SIZE))


@torch.no_grad()
def test_an_image_is_encoded_once_for_all_hypotheses() -> None:
    network, seen = make(), []
    for part in (network.unet, network.prior):
        part.register_forward_hook(lambda module, inputs, output: seen.append((type(module), len(inputs[0]))))
    network.posterior.register_forward_hook(lambda *_: pytest.fail("the posterior needs a label"))
    network.hypotheses(torch.rand(2, 3, *SIZE), range(16), batch_size=8)
    assert seen == [(type(network.unet), 2), (type(network.prior), 2)]


@torch.no_grad()
def test_z_is_drawn_from_the_posterior_where_there_is_a_label() -> None:
    network, image, label = make(), torch.rand(2, 3, *SIZE), torch.randint(0, K, (2, 1, *SIZE))
    noise = torch.randn(2, L)
    found = network(image, label, noise)
    one_hot = torch.nn.functional.one_hot(label[:, 0], K).permute(0, 3, 1, 2).float()
    posterior = network.posterior(torch.cat([image, one_hot], dim=1))
    torch.testing.assert_close(found["posterior"], posterior)
    torch.testing.assert_close(found["prior"], network.prior(image))
    z = torch.distributions.Normal(posterior[:, 0], posterior[:, 1].exp()).icdf(
        torch.distributions.Normal(0.0, 1.0).cdf(noise)
    )
    everywhere = z.view(2, L, 1, 1).expand(-1, -1, *SIZE)
    logits = network.head(torch.cat([network.unet(image), everywhere], dim=1))
    torch.testing.assert_close(found["logits"], logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network(image, one_hot, noise)["logits"], found["logits"])  # shares of one rater
    other = network(image, (label + 1) % K, noise)
    assert not torch.allclose(other["posterior"], posterior)


def test_training_reaches_every_parameter() -> None:
    """Else DistributedDataParallel would wait for gradients that never come."""
    network, label = make().train(), torch.randint(0, K, (2, 1, *SIZE))
    ElboLoss()(network(torch.rand(2, 3, *SIZE), label, torch.randn(2, L)), label).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert len(trainable_parameters(network)) == len(list(network.parameters()))


def test_the_average_of_the_weights_and_the_model_s_file_hold_all_of_it() -> None:
    """The noise follows from its seed, so that rounding the file to fp16 cannot change it."""
    network = make()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}
    assert torch.equal(network.noise, network.initial_noise(0))


def test_mixed_precision_leaves_the_gaussians_in_fp32() -> None:
    network, image, label = make(), torch.rand(2, 3, *SIZE), torch.randint(0, K, (2, 1, *SIZE))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, probabilities = network(image, label), network(image)
    assert {tensor.dtype for tensor in (*found.values(), probabilities)} == {torch.float32}
    torch.testing.assert_close(probabilities, network(image), rtol=0, atol=0.05)
    expected = network.hypotheses(image, [0, 1])
    set_weights(network, torch.bfloat16)
    torch.testing.assert_close(network.hypotheses(image, [0, 1]), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (16, 64)}, "image_size .* does not fit a ProbabilisticUNet.*at least 32"),
        ({"features": (8, 16)}, r"features is \[8, 16\]; expected six"),
        ({"latent_dim": 0}, "ProbabilisticUNetSegmenter: latent_dim is 0; expected"),
        ({"noise_seed": 0.5}, r"noise_seed is 0\.5; expected"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProbabilisticUNetSegmenter(K, **({"image_size": SIZE} | options))
