"""Where the training of a LatentSegmenter starts: from random weights, a published U-Net, or a saved model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DModel

from leaf_seg.diffusion import DiffusionSettings, Sampler
from leaf_seg.networks import LatentSegmenter, build_conditional_unet
from leaf_seg.networks.latents import LatentPart
from leaf_seg.networks.mask_codec import Codec
from leaf_seg.networks.parts import build_denoiser
from leaf_seg.networks.unet import unet_description
from leaf_seg.runtime.described import CLASS_KEY, as_mapping
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import check_not_overridden, overridden_keys
from leaf_seg.weights.model_config import read_configuration
from leaf_seg.weights.model_folder import AUTOENCODER_NAME, load_network, training_record
from leaf_seg.weights.unet_channels import (
    change_classes,
    change_mask_latents,
    make_conditional,
    start_image_channels_at_zero,
)
from leaf_seg.weights.unet_folder import load_unet
from leaf_seg.weights.version_0_1 import updated

logger = logging.getLogger(__name__)

LIGHT_AUTOENCODER_NAME = "light_autoencoder"  # of the shipped ones, the one that training takes by default

# What a saved model has of its own.
_OF_THE_MODEL = ("unet_config", "unet_dir", "parameterization", "scheduler", "diffusion")


def own_autoencoder(init_dir: str | os.PathLike[str] | None, default: str) -> str:
    """Folder of the frozen autoencoder that a converted model brings with it.

    Args:
        init_dir: folder of the model to start from; None without one.
        default: where it brings none.
    """
    folder = None if init_dir is None else Path(init_dir) / AUTOENCODER_NAME
    return str(folder) if folder is not None and folder.is_dir() else default


def default_autoencoder(init_dir: str | os.PathLike[str] | None, models: str | os.PathLike[str]) -> str:
    """Folder of the autoencoder to train with: the model's own, or a shipped one.

    That is the light one, unless a model was trained with the other.

    Args:
        init_dir: folder of the model to start from; None without one.
        models: folder of the shipped autoencoders.

    Raises:
        InputError: When ``init_dir`` holds no model.
    """
    own = own_autoencoder(init_dir, "")
    if own:
        return own
    name = LIGHT_AUTOENCODER_NAME
    if init_dir is not None:
        _check_is_there(init_dir)
        network = updated(dict(as_mapping(read_configuration(Path(init_dir)).get("network"))))
        decoder = as_mapping(network.get("mask_decoder", {}))
        if as_mapping(decoder.get("autoencoder", {})).get(CLASS_KEY) == AutoencoderKL.__name__:
            name = AUTOENCODER_NAME
    return str(Path(models) / name)


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


def check_start(argv: Sequence[str] | None = None) -> None:
    """Refuse settings on the command line that a saved model to start from has of its own.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: Names them.
    """
    init_dir = overridden_keys(argv).get("init_dir")
    if init_dir not in (None, "$None"):
        reason = f"init_dir is {init_dir}, and the model there has its own"
        check_not_overridden(_OF_THE_MODEL, reason, but=("unet_config#dropout", "unet_config::dropout"), argv=argv)


def initial_segmenter(
    *,
    image_encoder: LatentPart,
    mask_decoder: LatentPart,
    codec: Codec,
    unet_config: Mapping[str, Any],
    diffusion: DiffusionSettings,
    image_size: Sequence[int],
    noise_seed: int = 0,
    sampler: Sampler | None = None,
    image_channels: str = "repeated",
    kind: type[LatentSegmenter] = LatentSegmenter,
    unet_dir: str | os.PathLike[str] | None = None,
    init_dir: str | os.PathLike[str] | None = None,
    loaded_from: str | os.PathLike[str] | None = None,
) -> LatentSegmenter:
    """Build the network that is to be trained.

    A saved model may have had other classes, another size and other channels: what belongs to a mask latent is then
    repeated or left out. U-Net, parameterisation and noise schedule are the model's, but the predicted latent is not
    clipped any more.

    Args:
        image_encoder: of images; trained.
        mask_decoder: of mask latents. Both are of the autoencoder of the saved model, if training starts from one.
        codec: between label maps and mask images.
        unet_config: as for :func:`~leaf_seg.networks.build_conditional_unet`; of its values a saved model takes
            "dropout" only, and "num_class_embeds", which begin anew where the model has another number of them.
        diffusion: how latents are noised and ordered, with clip_sample off.
        image_size: (H, W) that the network works at.
        noise_seed: of the initial noise.
        sampler: one step unless given.
        image_channels: how the U-Net's first weights for the image latent begin: "repeated" like those of the mask
            latents (LEAF), or at "zero" (SDSeg); a saved model has its own.
        kind: of network.
        unet_dir: folder of an unconditional U-Net to start from, as ``python -m leaf_seg convert`` writes it.
        init_dir: folder of a model to train on, trained here or converted.
        loaded_from: folder of a model that is taken as it is, whatever else is given: without a data set.

    Raises:
        InputError: When weights or parts do not fit, the scheduler clips, or a trained decoder is to be frozen.
    """
    if loaded_from is not None:
        return _loaded(loaded_from)
    if init_dir is None:
        _check_scheduler(diffusion)
        latents = kind.latents_at_once(codec)
        unet = _new_unet(unet_config, image_encoder.channels, mask_decoder.channels, latents, unet_dir)
        _begin_image_channels(unet, image_channels, image_encoder.channels, diffusion.image_latent_first)
    else:
        model = _model_of(init_dir, mask_decoder)
        unet = _unet_for(model, kind.latents_at_once(codec), unet_config)
        diffusion = _without_clipping(model.diffusion)
        image_encoder = _taken_over(model, image_encoder, mask_decoder, sampler)
    return kind(image_encoder, unet, mask_decoder, codec, diffusion, image_size, noise_seed, sampler)


def _check_is_there(init_dir: str | os.PathLike[str]) -> None:
    if not Path(init_dir).is_dir():
        raise InputError(f"No folder {Path(init_dir).resolve()}; expected a model's, to train on from: --init_dir.")


def _model_of(init_dir: str | os.PathLike[str], mask_decoder: LatentPart) -> LatentSegmenter:
    """The model to train on, whose mask latents the decoder knows."""
    _check_is_there(init_dir)
    model = _loaded(init_dir)
    logger.info("Training on from %s: U-Net, parameterisation and noise schedule are its own.", init_dir)
    if model.mask_decoder.trainable and not mask_decoder.trainable:
        raise InputError(
            f"train_decoder is false, and the decoder of the model in {init_dir} was trained; expected true."
        )
    _check_same_autoencoder(model, mask_decoder)
    return model


def _loaded(folder: str | os.PathLike[str]) -> LatentSegmenter:
    model = load_network(folder)
    if not isinstance(model, LatentSegmenter):
        raise InputError(f"{folder} holds a {type(model).__name__}; expected a LatentSegmenter.")
    return model


def _taken_over(
    model: LatentSegmenter, encoder: LatentPart, decoder: LatentPart, sampler: Sampler | None
) -> LatentPart:
    """The encoder of the model; the decoder gets the model's weights, and the log tells of another sampler."""
    decoder.load_state_dict(model.mask_decoder.state_dict())
    if sampler is not None and sampler != model.sampler:
        logger.info("The model sampled by %s; trained on, it samples by %s.", model.sampler, sampler)
    return _trained_on(model.image_encoder, encoder)


def _trained_on(trained: LatentPart, given: LatentPart) -> LatentPart:
    """The encoder of the model, with the dropout that is given."""
    if type(trained) is not type(given):
        raise InputError(
            f"The image encoder of the model in init_dir is a {type(trained).__name__}, that of the config a "
            f"{type(given).__name__}; expected the same kind. Use the overlay that the model was trained with."
        )
    own = {key: value for key, value in trained.config.items() if key in ("scaled", "autoencoder")}
    with torch.device("meta"):  # draws no random weights
        encoder = type(given).from_config(given.config | own)
    encoder.load_state_dict(trained.state_dict(), assign=True)
    return encoder


def _check_scheduler(diffusion: DiffusionSettings) -> None:
    if diffusion.scheduler.config["clip_sample"]:
        raise InputError(
            "The noise scheduler has clip_sample on, which cuts latents at +-1, a standard deviation of theirs; set "
            "clip_sample to false."
        )


def _without_clipping(diffusion: DiffusionSettings) -> DiffusionSettings:
    """Those of a model, for training, whose loss is of the whole latent."""
    if not diffusion.scheduler.config["clip_sample"]:
        return diffusion
    logger.info("The model clipped predicted latents; trained on, it does not: the loss is of the whole latent.")
    return replace(diffusion, scheduler=DDIMScheduler.from_config(diffusion.scheduler.config, clip_sample=False))


def _new_unet(
    config: Mapping[str, Any],
    image_channels: int,
    latent_channels: int,
    num_mask_latents: int,
    unet_dir: str | os.PathLike[str] | None,
) -> Any:
    """A U-Net with random weights, or with those of an unconditional one; or another network in its place."""
    if config.get(CLASS_KEY, UNet2DModel.__name__) != UNet2DModel.__name__:
        if unet_dir is not None:
            raise InputError(f"unet_dir is {unet_dir}, and unet_config describes a {config[CLASS_KEY]}; leave one out.")
        mask_channels = latent_channels * num_mask_latents
        channels = {"in_channels": image_channels + mask_channels, "out_channels": mask_channels}
        return build_denoiser({**config, **channels})
    if unet_dir is None:
        return build_conditional_unet(config, latent_channels, num_mask_latents, image_channels)
    if image_channels != latent_channels:
        raise InputError(
            f"unet_dir is {unet_dir}, and image latents have {image_channels} channels, mask latents "
            f"{latent_channels}; expected as many. Leave unet_dir out."
        )
    one_latent = {**config, "in_channels": latent_channels, "out_channels": latent_channels, "num_class_embeds": None}
    unet = make_conditional(load_unet(one_latent, unet_dir), num_mask_latents)
    change_classes(unet, config.get("num_class_embeds"))
    return unet


def _begin_image_channels(unet: Any, how: str, channels: int, image_first: bool) -> None:
    if how == "zero":
        start_image_channels_at_zero(unet, channels, image_first)
    elif how != "repeated":
        raise InputError(f"image_channels is {how!r}; expected 'repeated' or 'zero'.")


def _unet_for(model: LatentSegmenter, num_mask_latents: int, config: Mapping[str, Any]) -> Any:
    """The model's U-Net for another number of mask latents and of classes that it is told."""
    unet = build_denoiser({**unet_description(model.unet), "dropout": config.get("dropout", 0.0)})
    unet.load_state_dict(model.unet.state_dict())
    if not isinstance(unet, UNet2DModel):
        found = unet.config["out_channels"] // model.mask_decoder.channels
        if found != num_mask_latents:
            raise InputError(
                f"The {type(unet).__name__} of the model in init_dir gives {found} mask latents, and the classes need "
                f"{num_mask_latents}; expected a data set of as many classes as the model's."
            )
        return unet
    change_mask_latents(unet, model.mask_decoder.channels, num_mask_latents, model.diffusion.image_latent_first)
    change_classes(unet, config.get("num_class_embeds"))
    return unet


def _check_same_autoencoder(model: LatentSegmenter, mask_decoder: LatentPart) -> None:
    """The mask latents that the model knows are those of its own autoencoder, of which it has the decoder."""
    own, given = model.mask_decoder.state_dict(), mask_decoder.state_dict()
    same = own.keys() == given.keys() and all(own[key].shape == given[key].shape for key in own)
    if same and not model.mask_decoder.trainable:
        same = all(torch.equal(own[key], given[key]) for key in own)
    scales = [part.config.get("autoencoder", {}).get("scaling_factor") for part in (model.mask_decoder, mask_decoder)]
    if not same or scales[0] != scales[1]:
        raise InputError(
            "The model of init_dir decodes masks by another autoencoder than that of autoencoder_dir; expected the "
            "same. Set --autoencoder_dir, or --mask_autoencoder_dir where there is one, to the one that the model was "
            "trained with."
        )
