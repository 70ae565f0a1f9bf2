"""The Probabilistic U-Net: a U-Net whose answers vary with a few numbers drawn for each image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from monai.networks.nets.basic_unet import Down, TwoConv
from torch import nn

from leaf_seg.networks.basic_unet import check_features
from leaf_seg.networks.limits import BASELINE_BOUNDS
from leaf_seg.networks.logits_network import check_image_size
from leaf_seg.networks.mask_codec import class_shares
from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.bounds import check_bounds

_ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})  # BasicUNet's
_NORM = ("group", {"num_groups": 1, "affine": True})  # instance norm would hide the mean, which is pooled


class ProbabilisticUNetSegmenter(SavedNetwork):
    """The Probabilistic U-Net (Kohl et al., NeurIPS 2018, arXiv 1806.05034).

    A prior net draws z from N(mu(x), diag sigma(x)^2) of the image; U-Net features and z, the same in every pixel, go
    through three 1x1 convolutions. In training z comes from a posterior net, which sees the label, too.

    ``forward(image)`` segments with the z of ``noise_seed``. ``forward(image, label, noise)`` returns what
    :class:`~leaf_seg.losses.ElboLoss` takes; training calls nothing else, so that DDP, autocast and hooks work.

    Differs from the paper: MONAI's BasicUNet, with instance norm, and nets for prior and posterior with a group norm of
    one group, where the paper has no norms; widths for a CPU; leaky ReLU in the nets, and PyTorch's first weights.

    Args:
        num_classes: K, background included.
        image_size: (H, W) that the network is used at, at least 32 each.
        features: channels of the five levels, top to bottom, and after the last up-sampling; the two nets have those
            of the levels.
        latent_dim: L, numbers in z.
        noise_seed: seed of the noise for z of the network's own answer, the same for all images.
        dropout: probability of dropout after each convolution of U-Net and nets.

    Raises:
        InputError: When an argument is unfit.
    """

    noise: torch.Tensor
    stages = ("encode_image", "prior_of", "segment_features")
    draws_noise = True

    def __init__(
        self,
        num_classes: int,
        image_size: Sequence[int],
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        latent_dim: int = 6,
        noise_seed: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        options = {"features": list(features), "latent_dim": latent_dim, "noise_seed": noise_seed, "dropout": dropout}
        self._config: dict[str, Any] = {"num_classes": num_classes, "image_size": list(image_size), **options}
        check_bounds(self._config, BASELINE_BOUNDS, f"{type(self).__name__}: ")
        check_image_size("ProbabilisticUNet", image_size, smallest=32)
        check_features("A ProbabilisticUNet", features)
        self.num_classes, self.latent_dim, self.noise_seed = num_classes, latent_dim, noise_seed
        self.image_size = (int(image_size[0]), int(image_size[1]))
        *levels, width = features
        self.unet = BasicUNet(spatial_dims=2, in_channels=3, features=features, dropout=dropout)
        self.unet.final_conv = nn.Identity()
        self.prior = _GaussianNet(3, levels, latent_dim, dropout)
        self.posterior = _GaussianNet(3 + num_classes, levels, latent_dim, dropout)
        self.head = nn.Sequential(
            nn.Conv2d(width + latent_dim, width, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(width, num_classes, kernel_size=1),
        )
        self.register_buffer("noise", self.initial_noise(noise_seed), persistent=False)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """As in :class:`SavedNetwork`; what is drawn stays in fp32."""
        return self.unet, self.prior, self.posterior, self.head

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same module."""
        return dict(self._config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProbabilisticUNetSegmenter:
        """Build the module, with random weights, from :attr:`config`."""
        return cls(**config)

    def noise_seeds(self, number: int) -> Sequence[int]:
        """Seeds noise_seed, noise_seed + 1, ... of so many hypotheses."""
        return range(self.noise_seed, self.noise_seed + number)

    def initial_noise(self, seed: int) -> torch.Tensor:
        """Noise for the z of one hypothesis, [1, L], drawn on the CPU so that every device has the same."""
        generator = torch.Generator("cpu").manual_seed(seed)
        return torch.randn((1, self.latent_dim), generator=generator, device="cpu")

    def forward(
        self, image: torch.Tensor, label: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Segment, or with a label return what the training loss takes.

        Args:
            image: [B, 3, H, W], or [B, 1, H, W] for grey, in [0, 1].
            label: [B, 1, H, W] integers, or shares [B, K, H, W].
            noise: standard normal, [B, L] or [1, L]; the buffer when not given.

        Returns:
            Class probabilities [B, K, H, W]; or with ``label`` "logits" [B, K, H, W] of a z from the posterior, and
            the two Gaussians, "prior" and "posterior" [B, 2, L], as mean and logarithm of the standard deviation.
        """
        noise = self.noise if noise is None else noise
        features, prior = self.encode_image(image), self.prior_of(image)
        if label is None:
            return self.segment_features(features, _drawn(prior, noise))
        shares = class_shares(label, self.num_classes)  # [B, K, H, W]
        colour = image.expand(-1, 3, -1, -1)
        posterior = self.posterior(torch.cat([colour, shares.to(colour.dtype)], dim=1)).float()
        logits = self._logits(features, _drawn(posterior, noise))
        return {"logits": logits, "prior": prior, "posterior": posterior}

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As in :class:`SavedNetwork`: class probabilities [S, B, K, H, W] for S noise seeds."""
        features, prior = self.encode_image(image), self.prior_of(image)  # [B, f, H, W], [B, 2, L]
        noise = torch.cat([self.initial_noise(seed) for seed in seeds]).to(prior.device)  # [S, L]
        latents = _drawn(prior.repeat(len(seeds), 1, 1), noise.repeat_interleave(len(image), dim=0))  # seed by seed
        owners = torch.arange(len(image), device=prior.device).repeat(len(seeds))  # whose features each latent meets
        pairs = zip(owners.split(batch_size), latents.split(batch_size), strict=True)
        drawn = [self.segment_features(features[owner], latent) for owner, latent in pairs]
        return torch.cat(drawn).unflatten(0, (len(seeds), len(image)))

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """The U-Net's last features, [B, f, H, W], of an image [B, 3 or 1, H, W] in [0, 1]."""
        features: torch.Tensor = self.unet(image.expand(-1, 3, -1, -1))
        return features

    def prior_of(self, image: torch.Tensor) -> torch.Tensor:
        """Mean and logarithm of the standard deviation of z, [B, 2, L] fp32, by the image [B, 3 or 1, H, W] alone."""
        gaussian: torch.Tensor = self.prior(image.expand(-1, 3, -1, -1))
        return gaussian.float()

    def segment_features(self, features: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] fp32 from features [B, f, H, W] and z [B, L]."""
        return self._logits(features, latent).softmax(dim=1)

    def _logits(self, features: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        everywhere = latent[:, :, None, None].expand(-1, -1, *features.shape[2:])  # [B, L, H, W]
        logits: torch.Tensor = self.head(torch.cat([features, everywhere.to(features.dtype)], dim=1))
        return logits.float()


class _GaussianNet(nn.Module):
    """Convolutions, four poolings, the mean over all pixels, and from it a Gaussian with independent numbers."""

    def __init__(self, in_channels: int, levels: Sequence[int], latent_dim: int, dropout: float) -> None:
        super().__init__()
        options: dict[str, Any] = {"act": _ACTIVATION, "norm": _NORM, "bias": True, "dropout": dropout}
        deeper = [Down(2, above, below, **options) for above, below in pairwise(levels)]
        self.levels = nn.Sequential(TwoConv(2, in_channels, levels[0], **options), *deeper)
        self.to_gaussian = nn.Linear(levels[-1], 2 * latent_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Mean and logarithm of the standard deviation, [B, 2, L], of images [B, C, H, W]."""
        gaussian: torch.Tensor = self.to_gaussian(self.levels(images).mean(dim=(2, 3)))
        return gaussian.unflatten(1, (2, -1))


def _drawn(gaussian: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Z = mu + sigma eps, [B, L], of a Gaussian [B, 2, L] and eps [B, L] or [1, L]."""
    mean, log_deviation = gaussian.unbind(dim=1)
    return mean + log_deviation.exp() * noise
