"""The folder of an unconditional U-Net to start training from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME
from leaf_seg.networks.unet import build_unet
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.tensors import check_finite
from leaf_seg.runtime.text import one_line
from leaf_seg.weights.tensor_file import read_tensors

_FREE_KEYS = ("sample_size", "dropout")  # of a configuration: the weights do for any value


def load_unet(config: Mapping[str, Any], folder: str | os.PathLike[str]) -> UNet2DModel:
    """Build a U-Net and load what ``python -m leaf_seg convert`` wrote, strictly.

    diffusers' own ``from_pretrained`` would lose the number of heads.

    Args:
        config: as for :func:`~leaf_seg.networks.build_unet`.
        folder: of the weights.

    Raises:
        InputError: When a file is missing, cannot be read or does not fit the network, or weights are not finite.
    """
    file = Path(folder) / DIFFUSERS_WEIGHTS_NAME
    for path in (file, file.with_name("config.json")):
        if not path.is_file():
            raise InputError(
                f"No {path.name} in the U-Net's folder {Path(folder).resolve()}; expected what python -m leaf_seg "
                "convert makes of LDM's checkpoint. Set --unet_dir, or --unet_dir '$None' to start from random weights."
            )
    unet = build_unet(config)
    _check_config(unet, file.with_name("config.json"))
    state = read_tensors(file)
    if not all(value.is_floating_point() for value in state.values()):
        raise InputError(f"{file} holds weights that are whole numbers; expected floating-point ones. Restore it.")
    check_finite(state, file)
    try:
        unet.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"The weights {file} do not fit the U-Net of unet_config ({one_line(error, 500)}); expected those of "
            "the same network."
        ) from error
    return unet


def _check_config(unet: UNet2DModel, file: Path) -> None:
    """Compare what the shapes do not show, such as the number of heads."""
    saved = read_json_object(file)
    own = json.loads(json.dumps(dict(unet.config)))
    differing = [
        f"{key}: {own[key]!r}, there {saved.get(key)!r}"
        for key in own
        if not key.startswith("_") and key not in _FREE_KEYS and own[key] != saved.get(key)
    ]
    if differing:
        found = one_line("; ".join(differing), 500)
        raise InputError(
            f"The U-Net of unet_config is not that of {file} ({found}); expected the same. Set unet_config to the "
            "values there."
        )
