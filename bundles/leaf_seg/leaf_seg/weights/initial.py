"""Where the training of a LatentSegmenter starts: from random weights, a published U-Net, or a saved model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel

from leaf_seg.networks import LatentSegmenter, MaskCodec, build_conditional_unet, build_unet
from leaf_seg.networks.autoencoder import Autoencoder, decoder_part
from leaf_seg.networks.unet import change_mask_latents
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import check_not_overridden
from leaf_seg.weights.model_folder import AUTOENCODER_NAME, load_network, training_record

logger = logging.getLogger(__name__)

# What a saved model has of its own.
_OF_THE_MODEL = ("unet_config", "unet_dir", "parameterization", "scheduler")


def own_autoencoder(init_dir: str | os.PathLike[str] | None) -> str | None:
    """Folder of the frozen autoencoder that a converted model brings with it; None where it brings none."""
    folder = None if init_dir is None else Path(init_dir) / AUTOENCODER_NAME
    return str(folder) if folder is not None and folder.is_dir() else None


def trained_with(init_dir: str | os.PathLike[str] | None, key: str, default: Any) -> Any:
    """How the model to train on from was trained, so that by default it goes on so.

    Args:
        init_dir: folder of the model; None without one.
        key: "terminal_probability", "image_loss_weight" or "train_decoder".
        default: without a model, and where it does not say.

    Raises:
        InputError: When the folder holds no model.
    """
    if init_dir is None:
        return default
    _check_is_there(init_dir)
    return training_record(init_dir).get(key, default)


def check_start(init_dir: str | os.PathLike[str] | None) -> None:
    """Refuse settings on the command line that a saved model to start from has of its own.

    Raises:
        InputError: Names them.
    """
    if init_dir is not None:
        reason = f"init_dir is {init_dir}, and the model there has its own"
        check_not_overridden(_OF_THE_MODEL, reason, but=("unet_config#dropout", "unet_config::dropout"))


def initial_segmenter(
    *,
    autoencoder: Autoencoder,
    unet_config: Mapping[str, Any],
    scheduler: DDIMScheduler,
    num_classes: int,
    image_size: Sequence[int],
    parameterization: str = "x0",
    noise_seed: int = 0,
    encoder_dropout: float = 0.0,
    train_decoder: bool = False,
    unet_dir: str | os.PathLike[str] | None = None,
    init_dir: str | os.PathLike[str] | None = None,
) -> LatentSegmenter:
    """Build the network that is to be trained.

    A saved model may have had other classes, another size and other channels: what belongs to a mask latent is then
    repeated or left out. U-Net, parameterisation and noise schedule are the model's, but the predicted latent is not
    clipped any more.

    Args:
        autoencoder: frozen autoencoder; that of the saved model, if training starts from one.
        unet_config: as for :func:`~leaf_seg.networks.build_conditional_unet`; of its values a saved model takes
            "dropout" only.
        scheduler: noise schedule, with clip_sample off.
        num_classes: K, background included.
        image_size: (H, W) that the network works at.
        parameterization: "x0", "v" or "eps".
        noise_seed: of the initial noise.
        encoder_dropout: of the trainable image encoder.
        train_decoder: train the decoder of the masks, too.
        unet_dir: folder of an unconditional U-Net to start from, as ``python -m leaf_seg convert`` writes it.
        init_dir: folder of a model to train on, trained here or converted.

    Raises:
        InputError: When weights do not fit, the scheduler clips, or a decoder that was trained is to be frozen.
    """
    if init_dir is not None:
        _check_is_there(init_dir)
        model = load_network(init_dir)
        if not isinstance(model, LatentSegmenter):
            raise InputError(f"init_dir {init_dir} holds a {type(model).__name__}; expected a LatentSegmenter.")
        logger.info("Training on from %s: U-Net, parameterisation and noise schedule are its own.", init_dir)
        if model.train_decoder and not train_decoder:
            raise InputError(
                f"train_decoder is false, and the decoder of the model in {init_dir} was trained; expected true."
            )
        changed = {
            "num_classes": num_classes,
            "image_size": image_size,
            "noise_seed": noise_seed,
            "encoder_dropout": encoder_dropout,
            "train_decoder": train_decoder,
        }
        return _continued(model, autoencoder, changed, unet_config.get("dropout", 0.0))
    if scheduler.config["clip_sample"]:
        raise InputError(
            "The noise scheduler has clip_sample on, which cuts latents at +-1, a standard deviation of theirs; set "
            "clip_sample to false."
        )
    return LatentSegmenter(
        autoencoder,
        build_conditional_unet(dict(unet_config), num_mask_latents=MaskCodec(num_classes).num_images, weights=unet_dir),
        scheduler,
        num_classes,
        image_size,
        parameterization,
        noise_seed,
        encoder_dropout,
        train_decoder=train_decoder,
    )


def _check_is_there(init_dir: str | os.PathLike[str]) -> None:
    if not Path(init_dir).is_dir():
        raise InputError(f"No folder {Path(init_dir).resolve()}; expected a model's, to train on from: --init_dir.")


def _continued(
    model: LatentSegmenter, autoencoder: Autoencoder, changed: dict[str, Any], dropout: float
) -> LatentSegmenter:
    """A network like the model, for other classes or another size, with its weights."""
    _check_same_autoencoder(model, autoencoder)
    unet = _unet_for(model, MaskCodec(changed["num_classes"]).num_images, dropout)
    rest = {key: value for key, value in model.config.items() if key not in ("autoencoder", "unet", "scheduler")}
    scheduler = DDIMScheduler.from_config(model.config["scheduler"], clip_sample=False)
    if model.schedule.clip_range is not None:
        logger.info("The model clipped predicted latents; trained on, it does not: the loss is of the whole latent.")
    network = LatentSegmenter(autoencoder, unet, scheduler, **(rest | changed))
    network.image_encoder.load_state_dict(model.image_encoder.state_dict())
    network.mask_decoder.load_state_dict(model.mask_decoder.state_dict())
    return network


def _unet_for(model: LatentSegmenter, num_mask_latents: int, dropout: float) -> UNet2DModel:
    """The model's U-Net for another number of mask latents."""
    unet = build_unet({**model.config["unet"], "dropout": dropout})
    unet.load_state_dict(model.unet.state_dict())
    change_mask_latents(unet, model.latent_channels, num_mask_latents, model.image_latent_first)
    return unet


def _check_same_autoencoder(model: LatentSegmenter, autoencoder: Autoencoder) -> None:
    """The mask latents that the model knows are those of its own autoencoder, of which it has the decoder."""
    own, given = model.mask_decoder.state_dict(), decoder_part(autoencoder).state_dict()
    same = own.keys() == given.keys() and all(own[key].shape == given[key].shape for key in own)
    if same and not model.train_decoder:
        same = all(torch.equal(own[key], given[key]) for key in own)
    if not same or model.config["autoencoder"]["scaling_factor"] != autoencoder.config["scaling_factor"]:
        raise InputError(
            "The model of init_dir decodes masks by another autoencoder than that of autoencoder_dir; expected the "
            "same. Set --autoencoder_dir to the one that the model was trained with."
        )
