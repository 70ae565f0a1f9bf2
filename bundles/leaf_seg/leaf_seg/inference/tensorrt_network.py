"""A network that TensorRT runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from monai.networks import trt_compile

from leaf_seg.inference.fast_network import ReadyNetwork
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError

PACKAGES = ("tensorrt", "polygraphy", "onnx")


def tensorrt_network(
    network: SavedNetwork,
    device: torch.device,
    base_path: str | os.PathLike[str],
    args: Mapping[str, Any] | None = None,
    num_samples: int = 1,
) -> ReadyNetwork:
    """A network whose ``forward`` MONAI's ``trt_compile`` exchanges for a TensorRT engine, at its first call.

    Args:
        network: is changed: it can no longer be trained or saved.
        device: of CUDA; the network is moved there.
        base_path: the engine is kept as ``<base_path>.plan``, and built anew when the file of this name is newer.
        args: as for ``trt_compile``.
        num_samples: hypotheses that will be asked for.

    Raises:
        InputError: When TensorRT or a CUDA device is missing, or several hypotheses are asked for, which no engine
            draws.
    """
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
    trt_compile(network.to(device).eval(), os.fspath(base_path), dict(args or {}))
    return ReadyNetwork(network)
