"""A scaling factor of mask latents that the training data decide."""

from __future__ import annotations

import logging
import os
from itertools import islice
from pathlib import Path

import torch

from leaf_seg.data import SliceSampler
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.drawn_class import DrawnClass
from leaf_seg.networks.latents import LatentEncoder
from leaf_seg.networks.mask_codec import Codec
from leaf_seg.runtime.described import as_mapping
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.model_config import read_configuration
from leaf_seg.weights.version_0_1 import updated

logger = logging.getLogger(__name__)

_DIGITS = 6  # so that another number of threads does not change the factor


def scaled_to_masks(
    autoencoder: Autoencoder,
    codec: Codec | DrawnClass,
    sampler: SliceSampler,
    batch_size: int,
    seed: int = 0,
    init_dir: str | os.PathLike[str] | None = None,
) -> Autoencoder:
    """Let the mask latents of the first training batch have the standard deviation 1 (LDM; SDSeg).

    Where training goes on from a model, the factor is that model's.

    Args:
        autoencoder: changed in place: ``scaling_factor`` of its config, which models are saved with.
        codec: makes images of label maps, or of the masks of classes that it draws.
        sampler: of the training slices; it is left as it was.
        batch_size: slices of the first batch.
        seed: of the classes, and of what is drawn from the posterior of a KL autoencoder.
        init_dir: folder of the model to train on; None without one.

    Returns:
        The autoencoder.

    Raises:
        InputError: When ``init_dir`` holds no model, or the latents of the first batch are all the same.
    """
    factor = _first_batch_factor(autoencoder, codec, sampler, batch_size, seed) if init_dir is None else _of(init_dir)
    autoencoder.register_to_config(scaling_factor=factor)
    logger.info("Mask latents are scaled by %g.", factor)
    return autoencoder


@torch.no_grad()
def _first_batch_factor(
    autoencoder: Autoencoder, codec: Codec | DrawnClass, sampler: SliceSampler, batch_size: int, seed: int
) -> float:
    first = SliceSampler(sampler.dataset, sampler.empty_rate, sampler.seed)
    items = sampler.dataset.__getitems__(list(islice(first, batch_size)))
    encoder = LatentEncoder(autoencoder, scaled=False, trainable=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = codec.encode(torch.stack([item["label"] for item in items]))
        if encoder.has_posterior:
            mean, deviation = encoder.posterior(images)
            latents = mean + deviation * torch.randn_like(mean)
        else:
            latents = encoder(images)
    spread = float(latents.double().std())
    if spread == 0:
        raise InputError("The mask latents of the first training batch are all the same; expected them to differ.")
    return float(f"{1 / spread:.{_DIGITS}g}")


def _of(init_dir: str | os.PathLike[str]) -> float:
    """The factor that a saved model decodes by."""
    network = updated(dict(as_mapping(read_configuration(Path(init_dir)).get("network"))))
    decoder = as_mapping(network.get("mask_decoder", {}))
    return float(as_mapping(decoder.get("autoencoder", {})).get("scaling_factor", 1.0))
