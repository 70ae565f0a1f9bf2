"""The parts of a whole LDM checkpoint, such as lsun_churches256 and SDSeg's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.assembly import State

UNET_PREFIX = "model.diffusion_model."
EMA_PREFIX = "model_ema."
_EMA_COUNTERS = ("model_ema.decay", "model_ema.num_updates")
# Constants of the noise schedule, and of the training; the networks do without.
SCHEDULE_KEYS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "scale_factor",
)


def part(source: Mapping[str, torch.Tensor], prefix: str) -> State:
    """The tensors whose names begin with a prefix, by the rest of the name."""
    return {key.removeprefix(prefix): tensor for key, tensor in source.items() if key.startswith(prefix)}


def unet_weights(source: Mapping[str, torch.Tensor], ema: bool) -> State:
    """The U-Net's weights by LDM's names without prefix.

    Args:
        source: whole checkpoint.
        ema: take the averaged copies. LDM names each ``model_ema.`` and the weight's name without its dots, which
            cannot be read back: the names are those of the plain weights.

    Raises:
        InputError: When there are no averaged copies, or they are not those of the plain weights.
    """
    plain = part(source, UNET_PREFIX)
    if not ema:
        return plain
    names = {name: f"{EMA_PREFIX}diffusion_model{name.replace('.', '')}" for name in plain}
    present = {key for key in source if key.startswith(EMA_PREFIX)} - set(_EMA_COUNTERS)
    missing, unexpected = sorted(set(names.values()) - present), sorted(present - set(names.values()))
    if missing or unexpected:
        raise InputError(
            f"The averaged copies (EMA) are not those of the U-Net's weights: {len(missing)} missing "
            f"({', '.join(missing[:3])}), {len(unexpected)} unexpected ({', '.join(unexpected[:3])}). Use the complete "
            "file, or take the plain weights: --weights plain."
        )
    return {name: source[key] for name, key in names.items()}


def check_nothing_left(source: Collection[str], prefixes: Collection[str], what: str) -> None:
    """Refuse a checkpoint with entries that are neither in the parts with these prefixes nor constants.

    Raises:
        InputError: Names them.
    """
    rest = [key for key in source if key not in SCHEDULE_KEYS and not key.startswith(tuple(prefixes))]
    if rest:
        raise InputError(
            f"The weights were recognised as {what}, but not all entries are expected ({len(rest)}: "
            f"{', '.join(rest[:8])}). "
            "Use the complete, unchanged file of the authors."
        )
