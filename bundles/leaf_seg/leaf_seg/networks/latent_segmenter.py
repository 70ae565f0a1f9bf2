"""The one module that inference needs: image encoder, U-Net, decoder and mask codec."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
from diffusers import UNet2DModel
from torch import nn

from leaf_seg.diffusion.sampling import OneStep, Sampler
from leaf_seg.diffusion.schedule import DiffusionSettings
from leaf_seg.networks.latents import LatentPart
from leaf_seg.networks.limits import MAX_NOISE, PART_BOUNDS
from leaf_seg.networks.mask_codec import Codec
from leaf_seg.networks.parts import CODECS, IMAGE_ENCODERS, MASK_DECODERS, SAMPLERS, build_denoiser
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.networks.unet import unet_description
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.described import build, describe
from leaf_seg.runtime.distributed import is_rank_zero
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)

IMAGE_CHANNELS = 3
ALIKE = (
    "num_samples is %d, and this model answers in one step: its hypotheses hardly differ, whatever the noise. What "
    "does differ: mc_dropout true (of a model trained with dropout), ensemble (several trainings), a model that "
    "samples in several steps (methods/ddim.json), or one trained on several raters (rater_target)."
)


class LatentSegmenter(SavedNetwork):
    """Segmentation by diffusion in a latent space; with its defaults LEAF (Huang et al., MICCAI 2025).

    ``forward(image)`` segments. ``forward(image, mask_latent, timesteps)`` returns the U-Net's output for the training
    loss; training calls nothing else, so that DDP, autocast and hooks work. Frozen parts stay in evaluation mode in
    ``train()``.

    Args:
        image_encoder: image to image latent; trained, in LEAF.
        unet: input image latent and noisy mask latents, 4 + 4n channels; output 4n channels.
        mask_decoder: mask latents to mask images; frozen, in LEAF.
        codec: mask images to class probabilities; K classes, n images.
        diffusion: how latents are noised and ordered.
        image_size: (H, W) that the network works at, each a multiple of what encoder and U-Net divide it by.
        noise_seed: seed of the initial noise, which is one buffer for all images, so that a result does not depend on
            batching.
        sampler: how the clean mask latent is come to.

    Raises:
        InputError: When the image size or the seed is unfit.
        ValueError: When the U-Net's channels do not fit the other parts.
    """

    noise: torch.Tensor
    stages = ("encode_image", "segment_latent")

    def __init__(
        self,
        image_encoder: LatentPart,
        unet: UNet2DModel,
        mask_decoder: LatentPart,
        codec: Codec,
        diffusion: DiffusionSettings,
        image_size: Sequence[int],
        noise_seed: int = 0,
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__()
        check_bounds({"image_size": image_size, "noise_seed": noise_seed}, PART_BOUNDS)
        self.codec = codec
        self.num_classes = codec.num_classes
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.noise_seed = noise_seed
        self.diffusion = diffusion
        self.draws_noise = diffusion.with_noise
        self.sampler = sampler or OneStep()
        self.schedule = diffusion.schedule()
        self.image_encoder = image_encoder
        self.unet = unet
        self.mask_decoder = mask_decoder
        self._check_sizes()
        self.register_buffer("noise", self.initial_noise(noise_seed))

    def _check_sizes(self) -> None:
        factor, levels = self.image_encoder.factor, len(self.unet.config["block_out_channels"])
        if any(side % (factor * 2 ** (levels - 1)) for side in self.image_size):
            raise InputError(
                f"image_size {self.image_size} does not fit: the autoencoder divides it by {factor} and the U-Net by "
                f"{2 ** (levels - 1)} more; choose multiples of their product."
            )
        channels = self.image_encoder.config.get("autoencoder", {}).get("in_channels", IMAGE_CHANNELS)
        if channels != IMAGE_CHANNELS:
            raise InputError(
                f"The autoencoder of images takes {channels} channels; expected {IMAGE_CHANNELS}. Is it that of label "
                "maps?"
            )
        if self.mask_decoder.factor != factor:
            raise InputError(
                f"The autoencoder of images divides them by {factor}, that of label maps by "
                f"{self.mask_decoder.factor}; expected the same. Take two that were trained with as many levels "
                "(block_out_channels)."
            )
        mask_channels = self.mask_decoder.channels * self.codec.num_images
        noise = mask_channels * math.prod(side // factor for side in self.image_size)
        if noise > MAX_NOISE:
            raise InputError(
                f"image_size {self.image_size} and {self.num_classes} classes need {noise} numbers of noise for an "
                f"image; expected at most {MAX_NOISE}. Take a smaller image_size, or an autoencoder that divides more."
            )
        out_channels = self.mask_decoder.channels * self.latents_at_once(self.codec)
        expected = (self.image_encoder.channels + out_channels, out_channels)
        found = (self.unet.config["in_channels"], self.unet.config["out_channels"])
        if found != expected:
            raise ValueError(f"{self.num_classes} classes need U-Net channels (in, out) {expected}, found {found}.")

    @classmethod
    def latents_at_once(cls, codec: Codec) -> int:
        """Mask latents that the U-Net takes and gives in one pass: here those of all the codec's images, n."""
        return codec.num_images

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """As in :class:`SavedNetwork`; noise, schedule and codec stay in fp32."""
        return self.image_encoder, self.unet, self.mask_decoder

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""
        return {
            "image_encoder": describe(self.image_encoder),
            "unet": unet_description(self.unet),
            "mask_decoder": describe(self.mask_decoder),
            "codec": describe(self.codec),
            "diffusion": self.diffusion.config,
            "image_size": list(self.image_size),
            "noise_seed": self.noise_seed,
            "sampler": describe(self.sampler),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, with random weights, from :attr:`config`.

        In a context of ``torch.device("meta")`` without weights: the schedule and the noise are there all the same.
        """
        parts = {
            "image_encoder": build(config["image_encoder"], IMAGE_ENCODERS),
            "unet": build_denoiser(config["unet"]),
            "mask_decoder": build(config["mask_decoder"], MASK_DECODERS),
            "codec": build(config["codec"], CODECS),
            "diffusion": DiffusionSettings.from_config(config["diffusion"]),
            "sampler": build(config["sampler"], SAMPLERS),
        }
        return cls(**(config | parts))

    def check_samples(self, number: int) -> None:
        """As in :class:`SavedNetwork`; warns of hypotheses of a single step, which hardly differ."""
        super().check_samples(number)
        if number > 1 and self.sampler.is_one_step and is_rank_zero():
            logger.warning(ALIKE, number)

    def noise_seeds(self, number: int) -> Sequence[int]:
        """Seeds noise_seed, noise_seed + 1, ... of so many hypotheses.

        Raises:
            InputError: When the network draws no noise.
        """
        if not self.draws_noise:
            return super().noise_seeds(number)
        return range(self.noise_seed, self.noise_seed + number)

    def initial_noise(self, seed: int) -> torch.Tensor:
        """Initial noise z_T of one hypothesis, [1, 4n, h, w], drawn on the CPU so that every device has the same.

        It is all zeros where the network draws no noise.
        """
        generator = torch.Generator("cpu").manual_seed(seed)
        size = [side // self.image_encoder.factor for side in self.image_size]
        shape = (1, self.mask_decoder.channels * self.latents_at_once(self.codec), *size)
        noise = torch.randn(shape, generator=generator, device="cpu")
        return noise if self.draws_noise else torch.zeros_like(noise)

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
        noise = self.noise if noise is None else noise
        return self.segment_latent(image_latent, noise.expand(image.shape[0], -1, -1, -1))

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As in :class:`SavedNetwork`: class probabilities [S, B, K, H, W] for S noise seeds."""
        image_latent = self.encode_image(image)  # [B, 4, h, w]
        noise = torch.cat([self.initial_noise(seed) for seed in seeds]).to(image_latent.device)  # [S, 4n, h, w]
        pairs = zip(
            image_latent.repeat(len(seeds), 1, 1, 1).split(batch_size),  # seed by seed
            noise.repeat_interleave(len(image), dim=0).split(batch_size),
            strict=True,
        )
        return torch.cat([self.segment_latent(*pair) for pair in pairs]).unflatten(0, (len(seeds), len(image)))

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """Image latent z^x, [B, 4, h, w], of an image [B, 3 or 1, H, W] in [0, 1]."""
        return self.image_encoder(image.expand(-1, 3, -1, -1) * 2 - 1)

    def denoise(self, image_latent: torch.Tensor, mask_latent: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The U-Net's output [B, 4n, h, w] for z^x, z_t and the timesteps [B]."""
        return self.unet(self.diffusion.in_order(image_latent, mask_latent), timesteps).sample

    def predict_clean(self, image_latent: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The estimate of the clean mask latent in inference, [B, 4n, h, w] in fp32 or better."""
        output = self.denoise(image_latent, noisy, timesteps)
        return self.schedule.clip(self.schedule.clean_latent(output, noisy, timesteps))

    def segment_latent(self, image_latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] from an image latent and initial noise [B, 4n, h, w]."""
        clean = self.sampler(partial(self.predict_clean, image_latent), noise, self.schedule)
        return self.codec.decode(self.mask_decoder(clean))
