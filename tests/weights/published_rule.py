"""The rule by which recorded outputs of published networks were made: weights and inputs from names and shapes alone.

A recorded output then needs no weight file: the same rule fills the layout here, and the outputs have to agree.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

ROUNDED_UP = {96: (20, 33)}  # frequencies, of how many, whose last bit was one more than correct
TOKENS = ("cls_token", "pos_embed", "register_tokens", "mask_token")


def rule_tensor(key: str, shape: Sequence[int]) -> torch.Tensor:
    """Weight, fp32, of a key of the original layout, with the key's prefix where the record has one."""
    normal = _normal(key, shape)
    if key.rsplit(".", 1)[-1] in TOKENS:
        value = 0.5 * normal
    elif len(shape) > 1:
        value = normal / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(("weight", "gamma")):
        value = 1 + 0.1 * normal
    else:
        value = 0.1 * normal
    return torch.from_numpy(value.astype(np.float32))


def rule_state(shapes: Mapping[str, Sequence[int]], prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights of a whole layout by :func:`rule_tensor`, under the keys without the prefix."""
    return {key: rule_tensor(prefix + key, shape) for key, shape in shapes.items()}


def rule_input(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Input, fp32, of a name such as "input:x"; "input:image" is in [0, 1]."""
    value = _normal(name, shape)
    if name == "input:image":
        value = np.clip(0.5 + 0.25 * value, 0, 1)
    return torch.from_numpy(value.astype(np.float32))


def assert_record(tensor: torch.Tensor, record: Mapping[str, Any], atol: float) -> None:
    """Compare a tensor with its record: "value" at the flat positions "index", and "shape", "mean", "std", "absmax".

    Of the last four those that the record has.
    """
    found = tensor.detach().double()
    if "shape" in record:
        assert list(found.shape) == list(record["shape"])
    expected = torch.tensor(record["value"], dtype=torch.float64)
    torch.testing.assert_close(found.flatten()[torch.tensor(record["index"])], expected, rtol=0, atol=atol)
    whole = {"mean": found.mean(), "std": found.std(correction=0), "absmax": found.abs().max()}
    for name in whole.keys() & record.keys():
        difference = abs(whole[name].item() - record[name])
        assert difference <= atol, f"{name} differs by {difference:.3g}, more than {atol:.3g}"


def recorded_timestep_embedding(timesteps: torch.Tensor, channels: int, *_: Any, **__: Any) -> torch.Tensor:
    """The sinusoid of the timestep [B, channels] as it was where the outputs were recorded, cosines first.

    The networks compute it in fp32 whatever their precision, and exp() in fp32 differs in the last bit between
    processors: at 999 that is 1e-5 in the sinusoid. Here exp() is rounded correctly, but for the recorded exceptions.
    """
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32) * -math.log(10000) / half
    frequencies = exponents.double().exp().float()
    for k in ROUNDED_UP.get(half, ()):
        frequencies[k] = torch.nextafter(frequencies[k], torch.tensor(1.0))
    angles = timesteps[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _normal(key: str, shape: Sequence[int]) -> np.ndarray:
    """Standard normal values, fp64, seeded by the key."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(tuple(shape))
