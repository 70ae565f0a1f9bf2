"""The two halves of an autoencoder, each as a module of its own: image to latent, latent to image."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from leaf_seg.networks.autoencoder import (
    Autoencoder,
    autoencoder_config,
    autoencoder_from_config,
    downsampling_factor,
    latent_channels,
)
from leaf_seg.networks.limits import PART_BOUNDS
from leaf_seg.networks.vector_quantization import quantize
from leaf_seg.runtime.bounds import check_bounds
from leaf_seg.runtime.errors import InputError


class LatentPart(nn.Module):
    """Base class of what leads from images [B, 3, H, W] in [-1, 1] to latents [B, C, H / f, W / f], or back.

    Attributes:
        config: plain values from which :meth:`from_config` builds the same module, with random weights.
        channels: C, of one latent.
        factor: f.
        trainable: whether training changes it.
    """

    config: dict[str, Any]
    channels: int
    factor: int
    trainable: bool = False

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module from :attr:`config`."""
        return cls(**config)


class AutoencoderHalf(LatentPart):
    """Base class of the two; a frozen one has no gradients and stays in evaluation mode in ``train()``.

    A half that trains is a copy; a frozen one shares the autoencoder's weights, and takes no memory.

    Args:
        autoencoder: whose half it is.
        trainable: train it.
        **options: further arguments of the subclass's constructor.

    Raises:
        InputError: When an option is of another kind, or no probability.
    """

    def __init__(self, autoencoder: Autoencoder, trainable: bool, **options: Any) -> None:
        super().__init__()
        check_bounds({"trainable": trainable, **options}, PART_BOUNDS, f"{type(self).__name__}: ")
        self.config = {"autoencoder": autoencoder_config(autoencoder), "trainable": trainable, **options}
        self.channels = latent_channels(autoencoder)
        self.factor = downsampling_factor(autoencoder)
        self.trainable = trainable
        self._is_plain = isinstance(autoencoder, AutoencoderTiny)

    def _in_layout(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor with its channels last in memory, where that pays.

        On a CPU the plain convolutions of AutoencoderTiny take about half the time then; GroupNorm of AutoencoderKL
        undoes it.
        """
        if self._is_plain and tensor.device.type == "cpu":
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _own(self, part: nn.Module | None) -> Any:
        """A copy of a part, which shares its weights when frozen."""
        if part is None or self.trainable:
            return copy.deepcopy(part)
        shared = {id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in part.parameters()}
        return copy.deepcopy(part, shared)

    def _freeze_unless_trainable(self) -> None:
        self.requires_grad_(self.trainable)
        if not self.trainable:
            self.eval()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, with random weights, from :attr:`config`, which describes the autoencoder."""
        return cls(**(config | {"autoencoder": autoencoder_from_config(config["autoencoder"])}))

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, unless frozen."""
        return super().train(mode and self.trainable)


class LatentEncoder(AutoencoderHalf):
    """Image to latent; of a KL autoencoder the posterior's mode, as in the published LEAF code.

    Of a VQModel the nearest codes, in fp32. The codebook itself is not trained: that is the autoencoder's training.

    Args:
        autoencoder: whose encoding half it is.
        scaled: multiply by the autoencoder's scaling factor, which gives about unit variance.
        dropout: of the ResNet blocks; AutoencoderKL takes no such argument (the paper's image encoder: 0.2).
        trainable: train it.
        new_projection: start the last 1 x 1 convolution anew, as SDSeg's image encoder does; of a KL autoencoder.

    Attributes:
        has_posterior: whether the autoencoder gives a distribution of latents.

    Raises:
        InputError: As of the base class, and for a new projection of an autoencoder that ends in none.
    """

    codebook: torch.Tensor | None

    def __init__(
        self,
        autoencoder: Autoencoder,
        scaled: bool = True,
        dropout: float = 0.0,
        trainable: bool = True,
        new_projection: bool = False,
    ) -> None:
        super().__init__(autoencoder, trainable, scaled=scaled, dropout=dropout)
        self.encoder = self._own(autoencoder.encoder)
        self.quant_conv = self._own(getattr(autoencoder, "quant_conv", None))
        if new_projection:
            _start_anew(self.quant_conv, autoencoder)
        self.register_buffer("codebook", _codebook(autoencoder))
        self._freeze_unless_trainable()
        self.has_posterior = isinstance(autoencoder, AutoencoderKL)
        self._scale = autoencoder.config["scaling_factor"] if scaled else None
        for block in self.modules():
            if isinstance(block, ResnetBlock2D):
                block.dropout.p = dropout

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Latent [B, C, H / f, W / f] of an image [B, 3, H, W] in [-1, 1]."""
        encoded = self._encoded(image)
        return self._scaled(encoded.chunk(2, dim=1)[0] if self.has_posterior else encoded)  # the mode is the mean

    def posterior(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of a KL autoencoder's latents, each [B, C, H / f, W / f].

        Raises:
            InputError: When the autoencoder has no posterior.
        """
        if not self.has_posterior:
            raise InputError(
                "Latents cannot be drawn from a posterior, which this autoencoder does not have; expected an "
                "AutoencoderKL: set autoencoder_dir to one."
            )
        posterior = DiagonalGaussianDistribution(self._encoded(image))
        return self._scaled(posterior.mean), self._scaled(posterior.std)

    def _encoded(self, image: torch.Tensor) -> torch.Tensor:
        """The latent; of a KL autoencoder mean and logarithm of the variance, [B, 2C, h, w]."""
        latent = self.encoder(self._in_layout(image))
        latent = latent if self.quant_conv is None else self.quant_conv(latent)
        return latent if self.codebook is None else quantize(latent, self.codebook)

    def _scaled(self, latent: torch.Tensor) -> torch.Tensor:
        latent = latent if self._scale is None else latent * self._scale
        return latent.contiguous()  # with channels last the U-Net would slow down


def _codebook(autoencoder: Autoencoder) -> torch.Tensor | None:
    """A VQModel's, [N, C]."""
    return autoencoder.quantize.embedding.weight.detach().clone() if isinstance(autoencoder, VQModel) else None


def _start_anew(projection: Any, autoencoder: Autoencoder) -> None:
    if projection is None:
        raise InputError(
            f"new_projection is true, and a {type(autoencoder).__name__} ends in no projection; expected an "
            "AutoencoderKL: set autoencoder_dir to one."
        )
    projection.reset_parameters()


class LatentDecoder(AutoencoderHalf):
    """Latents, n of them side by side, to n images each. A VQModel's are decoded as they are, not quantised again.

    Args:
        autoencoder: whose decoding half it is.
        trainable: train it.
    """

    def __init__(self, autoencoder: Autoencoder, trainable: bool = False) -> None:
        super().__init__(autoencoder, trainable)
        self.decoder = self._own(autoencoder.decoder)
        self.post_quant_conv = self._own(getattr(autoencoder, "post_quant_conv", None))
        self._freeze_unless_trainable()
        self._scale = autoencoder.config["scaling_factor"]

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Images [B * n, 3, H, W], nominally in [-1, 1], not clamped, of scaled latents [B, C * n, h, w]."""
        latents = latent.reshape(-1, self.channels, *latent.shape[2:]) / self._scale  # [B * n, C, h, w]
        if self.post_quant_conv is not None:
            latents = self.post_quant_conv(latents)
        return self.decoder(self._in_layout(latents)).contiguous()
