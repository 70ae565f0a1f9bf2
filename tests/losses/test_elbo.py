from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from leaf_seg.losses import ElboLoss
from leaf_seg.losses.elbo import kl_divergence as our_divergence
from leaf_seg.runtime.errors import InputError

B, K, L, SIZE = 3, 4, 6, (5, 7)


def gaussians(seed: int) -> torch.Tensor:
    return torch.randn(B, 2, L, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def as_distribution(gaussian: torch.Tensor) -> Independent:
    return Independent(Normal(gaussian[:, 0], gaussian[:, 1].exp()), 1)


def test_divergence_is_pytorch_s_and_that_of_draws() -> None:
    first, second = gaussians(0), gaussians(1)
    expected = kl_divergence(as_distribution(first), as_distribution(second))
    torch.testing.assert_close(our_divergence(first, second), expected, rtol=1e-12, atol=0)
    assert torch.equal(our_divergence(first, first), torch.zeros(B, dtype=torch.float64))
    near = torch.cat([second[:, :1] / 4, second[:, 1:] / 8], dim=1)  # of which draws tell the mean well
    torch.manual_seed(0)
    q, p = as_distribution(near), as_distribution(torch.zeros_like(near))
    draws = q.sample(torch.Size([100_000]))
    sampled = (q.log_prob(draws) - p.log_prob(draws)).mean(dim=0)
    torch.testing.assert_close(our_divergence(near, torch.zeros_like(near)), sampled, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 10.0])
def test_loss_is_the_paper_s_over_the_number_of_pixels(kl_weight: float) -> None:
    logits = torch.randn(B, K, *SIZE, dtype=torch.float64)
    label = torch.randint(0, K, (B, 1, *SIZE), dtype=torch.uint8)
    prior, posterior = gaussians(0), gaussians(1)
    expected = 0.0
    for item in range(B):
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                values = [float(value) for value in logits[item, :, row, column]]
                expected -= math.log(math.exp(values[int(label[item, 0, row, column])]) / sum(map(math.exp, values)))
        divergence = kl_divergence(as_distribution(posterior[item : item + 1]), as_distribution(prior[item : item + 1]))
        expected += kl_weight * float(divergence)
    expected /= B * SIZE[0] * SIZE[1]
    output = {"logits": logits, "prior": prior, "posterior": posterior}
    assert ElboLoss(kl_weight)(output, label).item() == pytest.approx(expected, rel=1e-10)


def test_shares_of_raters_count_as_such() -> None:
    """The cross-entropy of a share is the mean over the raters' labels."""
    logits = torch.randn(B, K, *SIZE, dtype=torch.float64)
    output = {"logits": logits, "prior": gaussians(0), "posterior": gaussians(1)}
    raters = torch.randint(0, K, (3, B, 1, *SIZE))
    shares = torch.stack([(raters == number).double().mean(dim=0)[:, 0] for number in range(K)], dim=1)
    loss = ElboLoss()
    expected = torch.stack([loss(output, label) for label in raters]).mean()
    torch.testing.assert_close(loss(output, shares), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kl_weight", [-1, float("nan"), "much"])
def test_weights_that_make_no_sense(kl_weight: float) -> None:
    with pytest.raises(InputError, match="kl_weight is"):
        ElboLoss(kl_weight)
