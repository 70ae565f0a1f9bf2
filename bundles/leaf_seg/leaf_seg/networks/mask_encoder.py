"""The frozen encoder of label maps, needed in training only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.latents import LatentEncoder
from leaf_seg.networks.mask_codec import Codec, check_channels
from leaf_seg.runtime.described import describe
from leaf_seg.runtime.distributed import num_processes, own_share


class MaskEncoder(nn.Module):
    """z^y = E(y): label maps to clean mask latents by the frozen autoencoder.

    Args:
        autoencoder: its encoder is frozen.
        codec: makes images of label maps.
        sampled: draw the latents from the posterior of a KL autoencoder (SDSeg) instead of taking its mode (LEAF).

    Raises:
        InputError: When the autoencoder takes images of other channels than the codec makes.
    """

    def __init__(self, autoencoder: Autoencoder, codec: Codec, sampled: bool = False) -> None:
        super().__init__()
        check_channels(codec, autoencoder.config)
        self.codec = codec
        self.encoder = LatentEncoder(autoencoder, trainable=False)
        self.sampled = sampled

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that say, with the weights, what it computes."""
        return {"codec": describe(self.codec), "encoder": self.encoder.config, "sampled": self.sampled}

    @torch.no_grad()
    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """Clean mask latent [B, 4n, h, w] fp32 of label maps [B, 1, H, W].

        Raises:
            InputError: When latents are to be drawn, and the autoencoder has no posterior.
        """
        images = self.codec.encode(label)  # [B * n, 3, H, W]
        if not self.sampled:
            return self._side_by_side(self.encoder(images), len(label))
        mean, deviation = (self._side_by_side(latent, len(label)) for latent in self.encoder.posterior(images))
        # Every process draws for all, as one process would, and takes its share.
        return mean + deviation * own_share(torch.randn_like(torch.cat([mean] * num_processes())))

    def _side_by_side(self, latents: torch.Tensor, number: int) -> torch.Tensor:
        """Latents [B * n, 4, h, w] of the images of each label map together, [B, 4n, h, w]."""
        return latents.float().reshape(number, -1, *latents.shape[2:])
