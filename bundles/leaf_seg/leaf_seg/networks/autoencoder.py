"""The autoencoder of diffusers: building and loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from diffusers import AutoencoderKL, AutoencoderTiny

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


def autoencoder_config(autoencoder: Autoencoder) -> dict[str, Any]:
    """The configuration from which :func:`autoencoder_from_config` builds the same, without folders of this machine."""
    config = {key: value for key, value in autoencoder.config.items() if not key.startswith("_")}
    return config | {"_class_name": type(autoencoder).__name__}


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
    autoencoder = autoencoder_from_config(autoencoder_config(trained))  # whose config names no folder of this machine
    autoencoder.load_state_dict(trained.state_dict())
    return autoencoder


def downsampling_factor(autoencoder: Autoencoder) -> int:
    """Image pixels per latent pixel along one side, f."""
    blocks = autoencoder.config[
        "block_out_channels" if isinstance(autoencoder, AutoencoderKL) else "encoder_block_out_channels"
    ]
    return 2 ** (len(blocks) - 1)
