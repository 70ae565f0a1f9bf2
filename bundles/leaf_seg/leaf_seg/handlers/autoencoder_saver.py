"""Saves the best autoencoder in diffusers' format."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from safetensors.torch import save_file

from leaf_seg.handlers.best_saver import BestSaver
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME, Autoencoder, autoencoder_config, encode_mode
from leaf_seg.runtime.files import ensure_writable_folder, replacing

logger = logging.getLogger(__name__)


class AutoencoderSaver(BestSaver):
    """Saves the autoencoder whenever the evaluator's key metric is the best so far, with its latents' scale.

    ``scaling_factor`` is set to 1 / std of the latents of some training batches (Rombach et al., CVPR 2022), so that
    they have unit variance where noise is added.

    Args:
        autoencoder: the one that trains.
        batches: training batches with "image" [B, 3, H, W] in [-1, 1].
        folder: for ``config.json`` and ``diffusion_pytorch_model.safetensors``.
        num_batches: number of batches to measure the scale on.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        batches: Iterable[dict[str, torch.Tensor]],
        folder: str | os.PathLike[str],
        num_batches: int = 8,
    ) -> None:
        self.autoencoder = autoencoder
        self.batches = batches
        self.folder = ensure_writable_folder(folder)
        self.num_batches = num_batches

    def save(self, best: dict[str, Any]) -> None:
        """Measure the scale and write the folder."""
        device = next(self.autoencoder.parameters()).device
        latents = [
            encode_mode(self.autoencoder, batch["image"].to(device)) for batch in islice(self.batches, self.num_batches)
        ]
        scale = 1 / torch.cat(latents).std().item()
        self.autoencoder.register_to_config(scaling_factor=scale)
        # What save_pretrained writes, but never half written.
        with (
            replacing(self.folder / DIFFUSERS_WEIGHTS_NAME) as weights,
            replacing(self.folder / "config.json") as config,
        ):
            save_file(self.autoencoder.state_dict(), weights, metadata={"format": "pt"})
            config.write_text(json.dumps(autoencoder_config(self.autoencoder), indent=2) + "\n")
        logger.info("Saved the autoencoder to %s, scaling_factor %.4f.", self.folder, scale)
