"""What the U-Net predicts: noise (eps), velocity (v) or the clean latent (x0)."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from leaf_seg.runtime.errors import InputError

Parameterization = Literal["x0", "v", "eps"]
PARAMETERIZATIONS: tuple[str, ...] = get_args(Parameterization)


def check_parameterization(name: str) -> str:
    """Return the name, or raise an InputError that lists those known."""
    if name not in PARAMETERIZATIONS:
        raise InputError(f"parameterization is {name!r}; expected one of {', '.join(PARAMETERIZATIONS)}.")
    return name


def prediction_target(
    clean: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, parameterization: str
) -> torch.Tensor:
    """What the U-Net should return, LEAF Eq. 2-4: eps, v = alpha eps - sigma z, or z itself.

    Args:
        clean: mask latent z, [B, C, h, w].
        noise: eps, same shape.
        alpha: alpha_t, broadcastable to ``clean``.
        sigma: sigma_t, likewise.
        parameterization: one of :data:`PARAMETERIZATIONS`.
    """
    match check_parameterization(parameterization):
        case "x0":
            return clean
        case "v":
            return alpha * noise - sigma * clean
        case _:
            return noise


def clean_latent(
    output: torch.Tensor, noisy: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, parameterization: str
) -> torch.Tensor:
    """The estimate of z from the U-Net's output o, LEAF Eq. 2-3.

    x0: o; v: alpha z_t - sigma o; eps: (z_t - sigma o) / alpha. Arguments as in :func:`prediction_target`, with
    ``noisy`` = z_t.
    """
    match check_parameterization(parameterization):
        case "x0":
            return output
        case "v":
            return alpha * noisy - sigma * output
        case _:
            return (noisy - sigma * output) / alpha
