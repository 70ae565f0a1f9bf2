"""The autoencoders of diffusers: building and loading one."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel
from safetensors import safe_open

from leaf_seg.networks.limits import AUTOENCODER_BOUNDS, check_parameters
from leaf_seg.networks.vector_quantization import quantize
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.tensors import check_finite
from leaf_seg.runtime.text import one_line

Autoencoder: TypeAlias = "AutoencoderKL | AutoencoderTiny | VQModel"
DIFFUSERS_WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"  # diffusers'
_FLOATS = ("F16", "BF16", "F32", "F64")  # safetensors' names
AUTOENCODERS: dict[str, type[Autoencoder]] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "VQModel": VQModel,
}


def autoencoder_from_config(config: dict[str, Any]) -> Autoencoder:
    """Build an autoencoder with random weights from its diffusers configuration.

    Raises:
        InputError: When ``_class_name`` is not a class that leaf_seg can use, or a number makes no sense.
    """
    cls = _autoencoder_class(config, "The configuration")
    _check_autoencoder(config)
    return cls.from_config(config)


def autoencoder_config(autoencoder: Autoencoder) -> dict[str, Any]:
    """The configuration from which :func:`autoencoder_from_config` builds the same, without folders of this machine."""
    arguments = inspect.signature(type(autoencoder)).parameters  # AutoencoderTiny's has a key that is none
    config = {key: value for key, value in autoencoder.config.items() if key in arguments}
    return config | {"_class_name": type(autoencoder).__name__}


def _autoencoder_class(config: Any, source: str) -> type[Autoencoder]:
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in AUTOENCODERS:
        raise InputError(
            f"{source} is that of class {name!r}; expected an autoencoder, one of {', '.join(AUTOENCODERS)}. Point "
            "autoencoder_dir at a folder saved by diffusers' save_pretrained."
        )
    return AUTOENCODERS[name]


def _check_autoencoder(config: dict[str, Any], source: str = "") -> None:
    check_bounds(config, AUTOENCODER_BOUNDS, f"{source}autoencoder: ")
    for key in ("block_out_channels", "encoder_block_out_channels", "decoder_block_out_channels"):
        layers = config.get("layers_per_block", max(config.get("num_encoder_blocks", (1,))))
        check_parameters(f"{source}An autoencoder", config.get(key, ()), layers)


def load_autoencoder(folder: str | os.PathLike[str], setting: str = "autoencoder_dir") -> Autoencoder:
    """Load an autoencoder that diffusers' ``save_pretrained`` wrote, safetensors only, in evaluation mode.

    Args:
        folder: holds ``config.json`` and ``diffusion_pytorch_model.safetensors``.
        setting: key of the folder, for messages.

    Raises:
        InputError: When a file is missing, cannot be read, or does not fit the configuration; when a number there makes
            no sense, or weights are not finite.
    """
    path = Path(folder)
    for name in ("config.json", DIFFUSERS_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise InputError(
                f"No {name} in the autoencoder folder {path.resolve()}; expected a folder saved by diffusers' "
                "save_pretrained or by python -m leaf_seg convert. Run from the repository root with --bundle_root "
                f"bundles/leaf_seg, or set --{setting}."
            )
    config = read_json_object(path / "config.json")
    cls = _autoencoder_class(config, str(path / "config.json"))
    _check_autoencoder(config, f"{path / 'config.json'}: ")
    try:
        _check_kinds(path / DIFFUSERS_WEIGHTS_NAME)
        autoencoder, report = cls.from_pretrained(
            path, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # safetensors and diffusers raise several kinds
        raise InputError(
            f"Cannot load the autoencoder weights in {path} ({one_line(error)}); restore or retrain them."
        ) from error
    wrong = {kind: keys for kind, keys in report.items() if keys}
    if wrong:
        raise InputError(
            f"The autoencoder weights in {path} do not fit its config.json: {one_line(wrong)}; restore or retrain them."
        )
    check_finite(autoencoder.state_dict(), path)
    return autoencoder.eval()


def _check_kinds(file: Path) -> None:
    """Look at the header: diffusers would turn whole numbers into weights."""
    with safe_open(file, framework="pt") as weights:
        kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118  # it is no dictionary
    if not kinds <= set(_FLOATS):
        raise ValueError(
            f"numbers of the type {', '.join(sorted(kinds - set(_FLOATS)))}, expected {', '.join(_FLOATS)}"
        )


def initial_autoencoder(config: dict[str, Any], init_dir: str | os.PathLike[str] | None = None) -> Autoencoder:
    """Where the autoencoder stage starts: a trained autoencoder, or one with random weights.

    Args:
        config: arguments of the class in diffusers that ``_class_name`` names, AutoencoderKL unless given; without
            meaning when ``init_dir`` is given.
        init_dir: folder of a trained autoencoder to continue from.

    Raises:
        InputError: When a number in the configuration makes no sense, or the folder cannot be loaded.
    """
    if init_dir is None:
        autoencoder = autoencoder_from_config({"_class_name": AutoencoderKL.__name__, **config})
        if isinstance(autoencoder, VQModel):  # diffusers' codes begin so close together that few would ever be used
            autoencoder.quantize.embedding.reset_parameters()
        return autoencoder
    trained = load_autoencoder(init_dir)
    autoencoder = autoencoder_from_config(autoencoder_config(trained))  # whose config names no folder of this machine
    autoencoder.load_state_dict(trained.state_dict())
    return autoencoder


def encode_mode(autoencoder: Autoencoder, image: torch.Tensor) -> torch.Tensor:
    """Latent [B, C, H / f, W / f] of an image [B, 3, H, W] in [-1, 1], not scaled.

    Of a posterior its mode; of a VQModel the nearest codes.
    """
    encoded = autoencoder.encode(image)
    if isinstance(autoencoder, AutoencoderKL):
        return encoded.latent_dist.mode()
    if isinstance(autoencoder, VQModel):
        return quantize(encoded.latents, autoencoder.quantize.embedding.weight)
    return encoded.latents


def decode_latent(autoencoder: Autoencoder, latent: torch.Tensor) -> torch.Tensor:
    """Image [B, 3, H, W] of a latent as :func:`encode_mode` gives it; a VQModel does not quantise it again."""
    if isinstance(autoencoder, VQModel):
        return autoencoder.decode(latent, force_not_quantize=True).sample
    return autoencoder.decode(latent).sample


def downsampling_factor(autoencoder: Autoencoder) -> int:
    """Image pixels per latent pixel along one side, f."""
    is_tiny = isinstance(autoencoder, AutoencoderTiny)
    return 2 ** (len(autoencoder.config["encoder_block_out_channels" if is_tiny else "block_out_channels"]) - 1)


def latent_channels(autoencoder: Autoencoder) -> int:
    """Channels C of a latent."""
    return int(autoencoder.config.get("vq_embed_dim") or autoencoder.config["latent_channels"])
