"""The one module that inference needs: image encoder, U-Net, decoder and mask codec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from leaf_seg.diffusion.parameterization import check_parameterization
from leaf_seg.diffusion.schedule import LdmNoiseSchedule, NoiseSchedule
from leaf_seg.networks.autoencoder import (
    Autoencoder,
    autoencoder_from_config,
    decode_latent,
    decoder_part,
    downsampling_factor,
    encode_latent,
    encoder_part,
    freeze,
)
from leaf_seg.networks.mask_codec import MaskCodec
from leaf_seg.networks.unet import build_unet
from leaf_seg.runtime.errors import InputError


class LatentSegmenter(nn.Module):
    """Latent-diffusion segmentation in one denoising step (LEAF, Huang et al., MICCAI 2025).

    ``forward(image)`` segments. ``forward(image, mask_latent, timesteps)`` returns the U-Net's output for the training
    loss; training calls nothing else, so that DDP, autocast and hooks work. A frozen decoder stays in evaluation mode
    in ``train()``.

    Args:
        autoencoder: frozen autoencoder; its encoder, copied, becomes the trainable image encoder.
        unet: input [image latent, noisy mask latents], 4 + 4n channels; output 4n channels.
        scheduler: noise schedule; with clip_sample the predicted latent is cut in inference, as in the published LEAF
            pipeline.
        num_classes: K, background included.
        image_size: (H, W) that the network works at, each a multiple of the autoencoder's down-sampling.
        parameterization: what the U-Net predicts: "x0" (LEAF), "v" or "eps".
        noise_seed: seed of the initial noise, which is one buffer for all images, so that a result does not depend on
            batching.
        encoder_dropout: dropout of the trainable image encoder (the paper's: 0.2).
        image_latent_first: order of the U-Net's input; SDSeg's is [noisy mask latents, image latent].
        scale_image_latent: multiply the image latent by the autoencoder's scaling factor; SDSeg does not.
        ldm_schedule: constants of the schedule as LDM and SDSeg round them, not as diffusers does.
        train_decoder: train the decoder of the masks, too; the paper's is frozen.

    Raises:
        InputError: When image size or parameterization is unfit.
        ValueError: When the U-Net's channels do not fit the number of classes.
    """

    noise: torch.Tensor

    def __init__(
        self,
        autoencoder: Autoencoder,
        unet: UNet2DModel,
        scheduler: DDIMScheduler,
        num_classes: int,
        image_size: Sequence[int],
        parameterization: str = "x0",
        noise_seed: int = 0,
        encoder_dropout: float = 0.0,
        image_latent_first: bool = True,
        scale_image_latent: bool = True,
        ldm_schedule: bool = False,
        train_decoder: bool = False,
    ) -> None:
        super().__init__()
        self.codec = MaskCodec(num_classes)
        self.parameterization = check_parameterization(parameterization)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.noise_seed = noise_seed
        self.image_latent_first = image_latent_first
        self.scale_image_latent = scale_image_latent
        self.schedule = (LdmNoiseSchedule if ldm_schedule else NoiseSchedule)(scheduler)
        self._scheduler_config = _plain(scheduler.config)
        self._encoder_dropout = encoder_dropout
        self.train_decoder = train_decoder

        self.image_encoder = encoder_part(autoencoder).requires_grad_(True)
        set_dropout(self.image_encoder, encoder_dropout)
        self.unet = unet
        decoder = decoder_part(autoencoder)
        self.mask_decoder = decoder.requires_grad_(True) if train_decoder else freeze(decoder)

        self.latent_channels = int(autoencoder.config["latent_channels"])
        factor = downsampling_factor(autoencoder)
        if any(side % (factor * 2 ** (len(unet.config["block_out_channels"]) - 1)) for side in self.image_size):
            raise InputError(
                f"image_size {self.image_size} does not fit: the autoencoder divides it by {factor} and the U-Net by "
                f"{2 ** (len(unet.config['block_out_channels']) - 1)} more; choose multiples of their product."
            )
        expected = (self.latent_channels * (1 + self.codec.num_images), self.latent_channels * self.codec.num_images)
        found = (unet.config["in_channels"], unet.config["out_channels"])
        if found != expected:
            raise ValueError(f"{num_classes} classes need a U-Net with (in, out) channels {expected}, found {found}.")
        self.latent_size = (self.image_size[0] // factor, self.image_size[1] // factor)
        self.register_buffer("noise", self.initial_noise(noise_seed))

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return self.codec.num_classes

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""
        return {
            "autoencoder": _plain(self.image_encoder.config) | {"_class_name": type(self.image_encoder).__name__},
            "unet": _plain(self.unet.config),
            "scheduler": self._scheduler_config,
            "num_classes": self.num_classes,
            "image_size": list(self.image_size),
            "parameterization": self.parameterization,
            "noise_seed": self.noise_seed,
            "encoder_dropout": self._encoder_dropout,
            "image_latent_first": self.image_latent_first,
            "scale_image_latent": self.scale_image_latent,
            "ldm_schedule": isinstance(self.schedule, LdmNoiseSchedule),
            "train_decoder": self.train_decoder,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LatentSegmenter:
        """Build the module, with random weights, from :attr:`config`.

        In a context of ``torch.device("meta")`` without weights: the schedule and the noise are there all the same.
        """
        parts = {"autoencoder": autoencoder_from_config(config["autoencoder"]), "unet": build_unet(config["unet"])}
        with torch.device("cpu"):
            scheduler = DDIMScheduler.from_config(config["scheduler"])
        return cls(**(config | parts | {"scheduler": scheduler}))

    def train(self, mode: bool = True) -> LatentSegmenter:
        """Set the training mode of the trainable parts; a frozen decoder stays in evaluation mode."""
        super().train(mode)
        self.mask_decoder.train(mode and self.train_decoder)
        return self

    def initial_noise(self, seed: int) -> torch.Tensor:
        """Initial noise z_T of one hypothesis, [1, 4n, h, w], drawn on the CPU so that every device has the same."""
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, self.latent_channels * self.codec.num_images, *self.latent_size)
        return torch.randn(shape, generator=generator, device="cpu")

    @contextmanager
    def noise_of(self, seed: int) -> Iterator[None]:
        """Start from the initial noise of another seed inside a ``with`` block."""
        noise = self.noise
        self.noise = self.initial_noise(seed).to(noise)
        try:
            yield
        finally:
            self.noise = noise

    def forward(
        self,
        image: torch.Tensor,
        mask_latent: torch.Tensor | None = None,
        timesteps: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Segment, or with a noisy mask latent return the U-Net's output.

        Args:
            image: [B, 3, H, W], or [B, 1, H, W] for grey, in [0, 1].
            mask_latent: noisy mask latent z_t, [B, 4n, h, w].
            timesteps: [B], needed with ``mask_latent``.
            noise: initial noise, broadcastable to [B, 4n, h, w]; the buffer when not given.

        Returns:
            Class probabilities [B, K, H, W], or with ``mask_latent`` the U-Net's output [B, 4n, h, w].

        Raises:
            ValueError: When only one of ``mask_latent`` and ``timesteps`` is given.
        """
        if (mask_latent is None) != (timesteps is None):
            raise ValueError("mask_latent and timesteps go together: give both (training) or neither (inference).")
        image_latent = self.encode_image(image)
        if mask_latent is not None and timesteps is not None:
            return self.denoise(image_latent, mask_latent, timesteps)
        return self.segment_latent(image_latent, noise)

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """Image latent z^x, [B, 4, h, w], of an image [B, 3 or 1, H, W] in [0, 1]."""
        return encode_latent(self.image_encoder, image.expand(-1, 3, -1, -1) * 2 - 1, self.scale_image_latent)

    def denoise(self, image_latent: torch.Tensor, mask_latent: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The U-Net's output [B, 4n, h, w] for z^x and z_t, side by side, and the timesteps [B]."""
        latents = [image_latent, mask_latent] if self.image_latent_first else [mask_latent, image_latent]
        return self.unet(torch.cat(latents, dim=1), timesteps).sample

    def segment_latent(self, image_latent: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Class probabilities [B, K, H, W] from an image latent, in one denoising step at T - 1."""
        batch = image_latent.shape[0]
        noisy = (self.noise if noise is None else noise).expand(batch, -1, -1, -1)
        timesteps = torch.full((batch,), self.schedule.last, device=image_latent.device)
        output = self.denoise(image_latent, noisy, timesteps)
        clean = self.clean_latent(output, noisy, timesteps)
        if self.schedule.clip_range is not None:
            clean = clean.clamp(-self.schedule.clip_range, self.schedule.clip_range)
        return self.decode_mask(clean)

    def clean_latent(self, output: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The estimate of the clean mask latent, [B, 4n, h, w] in fp32 or better, from the U-Net's output."""
        return self.schedule.clean_latent(output, noisy, timesteps, self.parameterization)

    def decode_mask(self, mask_latent: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of a clean mask latent [B, 4n, h, w]."""
        return self.codec.decode(self.decode_images(mask_latent))

    def decode_images(self, mask_latent: torch.Tensor) -> torch.Tensor:
        """Mask images [B * n, 3, H, W], nominally in [-1, 1], of a clean mask latent [B, 4n, h, w]."""
        latents = mask_latent.reshape(-1, self.latent_channels, *mask_latent.shape[2:])  # [B * n, 4, h, w]
        return decode_latent(self.mask_decoder, latents)


def set_dropout(module: nn.Module, probability: float) -> None:
    """Set the dropout of every diffusers ResNet block; AutoencoderKL takes no such argument."""
    for block in module.modules():
        if isinstance(block, ResnetBlock2D):
            block.dropout.p = probability


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A diffusers configuration without private keys: they name folders, and values to leave out when building."""
    return {key: value for key, value in config.items() if not key.startswith("_")}
