"""diffusers' noise scheduler, from numbers that were looked at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import DDIMScheduler

from leaf_seg.runtime.bounds import Bound, Bounds, Flag, check_bounds
from leaf_seg.runtime.errors import InputError

MAX_TIMESTEPS = 100_000
_BETA = Bound(0, 1, whole=False, above=True)

BOUNDS: Bounds = {
    "num_train_timesteps": Bound(1, MAX_TIMESTEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "trained_betas": Bound(0, 1, whole=False, above=True, lengths=(1, MAX_TIMESTEPS), optional=True),
    "clip_sample": Flag(),
    "clip_sample_range": Bound(0, 1e6, whole=False, above=True),
    "set_alpha_to_one": Flag(),
    "steps_offset": Bound(0, MAX_TIMESTEPS),
    "thresholding": Flag(),
    "dynamic_thresholding_ratio": Bound(0, 1, whole=False),
    "sample_max_value": Bound(0, 1e6, whole=False, above=True),
    "rescale_betas_zero_snr": Flag(),
}


def noise_scheduler(**arguments: Any) -> DDIMScheduler:
    """Make a DDIMScheduler.

    Args:
        **arguments: its own.

    Raises:
        InputError: When a number makes no sense.
    """
    check_scheduler(arguments)
    return DDIMScheduler(**arguments)


def check_scheduler(config: Mapping[str, Any]) -> None:
    """Look at the numbers of a scheduler before its constants are computed.

    Args:
        config: arguments of DDIMScheduler; those that are not given are as it has them.

    Raises:
        InputError: Names the key, what was found, and what is allowed.
    """
    if not isinstance(config, Mapping):
        raise InputError(f"scheduler is a {type(config).__name__}; expected the arguments of DDIMScheduler by name.")
    check_bounds(config, BOUNDS, "scheduler: ")
    start, end = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
    if start > end:
        raise InputError(f"scheduler: beta_start is {start}, beta_end {end}; expected noise that does not get less.")
