"""A network that TensorRT runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from monai.networks import trt_compile
from torch import nn

from leaf_seg.inference.fast_network import ReadyNetwork
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError

PACKAGES = ("tensorrt", "polygraphy", "onnx")


def tensorrt_network(
    network: SavedNetwork,
    device: torch.device,
    base_path: str | os.PathLike[str],
    precision: str = "fp16",
    args: Mapping[str, Any] | None = None,
    num_samples: int = 1,
) -> ReadyNetwork:
    """A network whose ``forward`` MONAI's ``trt_compile`` exchanges for a TensorRT engine, at its first call.

    Args:
        network: is changed: it can no longer be trained or saved.
        device: of CUDA; the network is moved there.
        base_path: the engine is kept as ``<base_path>.<digest>.plan``; the digest is of the weights, ``precision`` and
            ``args``, so that no other engine is taken for it. Engines are code: keep the folder as safe as a program.
        precision: "fp32" or "fp16".
        args: as for ``trt_compile``.
        num_samples: hypotheses that will be asked for.

    Raises:
        InputError: When the precision is another, TensorRT or a CUDA device is missing, or several hypotheses are
            asked for, which no engine draws.
    """
    if precision not in ("fp32", "fp16"):
        raise InputError(f"precision is {precision!r}; expected fp32 or fp16 with inference_trt.json.")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"inference_trt.json needs the packages {', '.join(PACKAGES)}; not installed: {', '.join(missing)}. "
            "Install them, or leave inference_trt.json out: inference_gpu.json needs none of them."
        )
    if device.type != "cuda":
        raise InputError(f"TensorRT needs a CUDA device, found {device.type}: leave inference_trt.json out.")
    if num_samples != 1:
        raise InputError(
            f"num_samples is {num_samples}; expected 1 with inference_trt.json: its engine has one answer to an image. "
            "Leave inference_trt.json out."
        )
    settings = {"precision": precision, **(args or {})}
    name = f"{os.fspath(base_path)}.{_digest(network, settings)}"
    trt_compile(network.to(device).eval(), name, settings)
    return ReadyNetwork(network)


def _digest(network: nn.Module, settings: Mapping[str, Any]) -> str:
    """What tells one engine from another, 16 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
