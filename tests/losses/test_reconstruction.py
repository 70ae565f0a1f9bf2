from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from leaf_seg.losses import ReconstructionLoss


def make_prediction() -> dict[str, torch.Tensor]:
    return {
        "reconstruction": torch.randn(2, 3, 8, 8),
        "mean": torch.randn(2, 4, 2, 2),
        "logvar": torch.randn(2, 4, 2, 2),
    }


def test_divergence_is_that_of_diffusers() -> None:
    prediction = make_prediction()
    image = prediction["reconstruction"]  # perfect: the divergence remains
    posterior = DiagonalGaussianDistribution(torch.cat([prediction["mean"], prediction["logvar"]], dim=1))
    expected = posterior.kl().sum() / prediction["mean"].numel()
    torch.testing.assert_close(ReconstructionLoss(kl_weight=1.0)(prediction, image), expected)
    torch.testing.assert_close(ReconstructionLoss(kl_weight=0.25)(prediction, image), 0.25 * expected)


def test_no_divergence_from_the_standard_normal() -> None:
    prediction = make_prediction() | {"mean": torch.zeros(2, 4, 2, 2), "logvar": torch.zeros(2, 4, 2, 2)}
    assert ReconstructionLoss(kl_weight=1.0)(prediction, prediction["reconstruction"]).item() == 0


def test_grows_with_the_error() -> None:
    prediction = make_prediction()
    losses = [ReconstructionLoss()(prediction, prediction["reconstruction"] + error).item() for error in (0, 0.1, 0.5)]
    assert losses[0] < losses[1] < losses[2]
    assert losses[0] == pytest.approx(0, abs=1e-3)


def test_fp32_from_bf16() -> None:
    prediction = {key: value.bfloat16() for key, value in make_prediction().items()}
    assert ReconstructionLoss()(prediction, torch.randn(2, 3, 8, 8)).dtype == torch.float32
