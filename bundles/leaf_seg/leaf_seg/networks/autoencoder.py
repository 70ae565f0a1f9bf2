"""The frozen autoencoder: loading it, and its encode and decode in scaled latents."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object

Autoencoder: TypeAlias = "AutoencoderKL | AutoencoderTiny"
DIFFUSERS_WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"  # diffusers'
AUTOENCODERS: dict[str, type[Autoencoder]] = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


def autoencoder_from_config(config: dict[str, Any]) -> Autoencoder:
    """Build an autoencoder with random weights from its diffusers configuration.

    Raises:
        InputError: When ``_class_name`` is not a class that leaf_seg can use.
    """
    return _autoencoder_class(config, "The configuration").from_config(config)


def _autoencoder_class(config: Any, source: str) -> type[Autoencoder]:
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in AUTOENCODERS:
        raise InputError(
            f"{source} is that of class {name!r}; expected an autoencoder, one of {', '.join(AUTOENCODERS)}. Point "
            "autoencoder_dir at a folder saved by diffusers' save_pretrained."
        )
    return AUTOENCODERS[name]


def load_autoencoder(folder: str | os.PathLike[str]) -> Autoencoder:
    """Load an autoencoder that diffusers' ``save_pretrained`` wrote, safetensors only, in evaluation mode.

    Args:
        folder: holds ``config.json`` and ``diffusion_pytorch_model.safetensors``.

    Raises:
        InputError: When a file is missing, cannot be read, or does not fit the configuration.
    """
    path = Path(folder)
    for name in ("config.json", DIFFUSERS_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise InputError(
                f"No {name} in the autoencoder folder {path.resolve()}; expected a folder saved by diffusers' "
                "save_pretrained or by python -m leaf_seg convert. Run from the repository root with --bundle_root "
                "bundles/leaf_seg, or set --autoencoder_dir."
            )
    config = read_json_object(path / "config.json")
    cls = _autoencoder_class(config, str(path / "config.json"))
    try:
        autoencoder, report = cls.from_pretrained(
            path, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # safetensors and diffusers raise several kinds
        raise InputError(
            f"Cannot load the autoencoder weights in {path} ({error}); restore or retrain them."
        ) from error
    wrong = {kind: keys for kind, keys in report.items() if keys}
    if wrong:
        raise InputError(
            f"The autoencoder weights in {path} do not fit its config.json: {wrong}; restore or retrain them."
        )
    return autoencoder.eval()


def initial_autoencoder(config: dict[str, Any], init_dir: str | os.PathLike[str] | None = None) -> Autoencoder:
    """Where the autoencoder stage starts: a trained autoencoder, or one with random weights.

    Args:
        config: arguments of ``diffusers.AutoencoderKL``; without meaning when ``init_dir`` is given.
        init_dir: folder of a trained autoencoder to continue from.
    """
    if init_dir is None:
        return AutoencoderKL(**config)
    trained = load_autoencoder(init_dir)
    # A new one, whose config does not name this machine's folder.
    config = {key: value for key, value in trained.config.items() if not key.startswith("_")}
    autoencoder = autoencoder_from_config(config | {"_class_name": type(trained).__name__})
    autoencoder.load_state_dict(trained.state_dict())
    return autoencoder


def downsampling_factor(autoencoder: Autoencoder) -> int:
    """Image pixels per latent pixel along one side, f."""
    blocks = autoencoder.config[
        "block_out_channels" if isinstance(autoencoder, AutoencoderKL) else "encoder_block_out_channels"
    ]
    return 2 ** (len(blocks) - 1)


def encoder_part(autoencoder: Autoencoder) -> Autoencoder:
    """A copy that can only encode: no decoder, no ``post_quant_conv``."""
    return _without(autoencoder, "decoder", "post_quant_conv")


def decoder_part(autoencoder: Autoencoder) -> Autoencoder:
    """A copy that can only decode: no encoder, no ``quant_conv``."""
    return _without(autoencoder, "encoder", "quant_conv")


def _without(autoencoder: Autoencoder, *names: str) -> Autoencoder:
    part = copy.deepcopy(autoencoder)
    for name in names:
        if hasattr(part, name):
            setattr(part, name, None)
    return part


def encode_latent(autoencoder: Autoencoder, image: torch.Tensor, scale: bool = True) -> torch.Tensor:
    """Latent of an image; the mode of the posterior, as in the published LEAF code.

    Args:
        image: [B, 3, H, W] in [-1, 1].
        scale: multiply by the autoencoder's scaling factor, which gives about unit variance.

    Returns:
        [B, 4, H / f, W / f].
    """
    encoded = autoencoder.encode(image)
    latent = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    return latent * autoencoder.config["scaling_factor"] if scale else latent


def decode_latent(autoencoder: Autoencoder, latent: torch.Tensor) -> torch.Tensor:
    """Image of a scaled latent.

    Args:
        latent: [B, 4, h, w], scaled.

    Returns:
        [B, 3, h * f, w * f], nominally in [-1, 1], not clamped.
    """
    return autoencoder.decode(latent / autoencoder.config["scaling_factor"]).sample


def freeze(module: nn.Module) -> nn.Module:
    """Switch off gradients and dropout for good; the caller keeps ``train()`` from undoing the latter."""
    return module.requires_grad_(False).eval()
