"""Configurations of models that version 0.1 saved."""

from __future__ import annotations

from typing import Any

from leaf_seg.diffusion import OneStep
from leaf_seg.runtime.described import CLASS_KEY, describe


def updated(config: dict[str, Any]) -> dict[str, Any]:
    """A network's description as this version writes it.

    Version 0.1 had one autoencoder for images and masks, one codec and one sampler; at first one network, unnamed.
    """
    name = config.get(CLASS_KEY, "LatentSegmenter")
    if name != "LatentSegmenter" or "autoencoder" not in config:
        return config
    autoencoder = config["autoencoder"]
    diffusion = ("scheduler", "parameterization", "image_latent_first", "ldm_schedule")
    encoder = {"scaled": config.get("scale_image_latent", True), "dropout": config.get("encoder_dropout", 0.0)}
    return {
        CLASS_KEY: name,
        "image_encoder": {CLASS_KEY: "LatentEncoder", "autoencoder": autoencoder, **encoder},
        "unet": config["unet"],
        "mask_decoder": {
            CLASS_KEY: "LatentDecoder",
            "autoencoder": autoencoder,
            "trainable": config.get("train_decoder", False),
        },
        "codec": {CLASS_KEY: "MaskCodec", "num_classes": config["num_classes"]},
        "diffusion": {key: config[key] for key in diffusion if key in config},
        "image_size": config["image_size"],
        "noise_seed": config.get("noise_seed", 0),
        "sampler": describe(OneStep()),
    }
