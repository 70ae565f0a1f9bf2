"""From a batch of slices to what the network and the loss take."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import nn

from leaf_seg.diffusion import NoiseSchedule, TimestepSampler
from leaf_seg.networks import FeatureCache
from leaf_seg.runtime.distributed import num_processes, own_share
from leaf_seg.runtime.precision import autocast


class PrepareDenoisingBatch(PrepareBatch):
    """Encodes the label map, draws timestep and noise, and adds the noise (LEAF Eq. 1).

    Args:
        schedule: of the network that is trained.
        mask_encoder: frozen encoder of label maps, such as a MaskEncoder.
        timestep_sampler: draws the timesteps.
        precision: "fp32", "bf16" or "fp16" of the mask encoder. In bf16 the latents of the shipped autoencoders are off
            by 0.4 and 0.6 % of their standard deviation; 2 and 0.4 of 10 000 pixels are decoded as another class.
        cache: of the mask latents; None encodes every label map anew.

    Raises:
        InputError: When the cache cannot be used.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        mask_encoder: nn.Module,
        timestep_sampler: TimestepSampler,
        precision: str = "fp32",
        cache: FeatureCache | None = None,
    ) -> None:
        self.schedule = schedule
        self.mask_encoder = mask_encoder
        self.timestep_sampler = timestep_sampler
        self.precision = precision
        self._cached = None if cache is None else cache.of(mask_encoder, precision)

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor], dict[str, Any]]:
        """Prepare one batch.

        Args:
            batchdata: "image" [B, 3, H, W] in [0, 1] and "label" [B, 1, H, W], or [B, K, H, W] as the mean of raters.

        Returns:
            The image; what the loss takes: "target", "noisy" and "clean" [B, 4n, h, w], "timesteps" [B], "label"
            as it came;
            the network's further arguments (noisy, timesteps); no keyword arguments.
        """
        image, label = _image_and_label(batchdata, device=device, non_blocking=non_blocking, **kwargs)
        with autocast(label.device, self.precision):
            # [B, 4n, h, w] fp32
            clean = self._cached(label, batchdata["label"]) if self._cached else self.mask_encoder(label)
        # Every process draws for all, as one process would, and takes its share: their generators stay in step.
        of_all = torch.cat([clean] * num_processes())  # [B * processes, 4n, h, w]
        timesteps = own_share(self.timestep_sampler(len(of_all), self.schedule.last + 1, clean.device))
        noise = own_share(torch.randn_like(of_all))
        noisy = self.schedule.add_noise(clean, noise, timesteps)
        target = self.schedule.target(clean, noise, timesteps)
        targets = {"target": target, "noisy": noisy, "clean": clean, "timesteps": timesteps, "label": label}
        return image, targets, (noisy, timesteps), {}


class PrepareSegmentationBatch(PrepareBatch):
    """Image and label map, for a network that trains on its logits."""

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[()], dict[str, bool]]:
        """Prepare one batch.

        Args:
            batchdata: "image" [B, 3, H, W] in [0, 1] and "label" [B, 1, H, W], or [B, K, H, W] as the mean of raters.

        Returns:
            The image; the label map; no further arguments of the network; the keyword argument that asks for logits.
        """
        image, label = _image_and_label(batchdata, device=device, non_blocking=non_blocking, **kwargs)
        return image, label, (), {"return_logits": True}


class PreparePosteriorBatch(PrepareBatch):
    """Image, label map and noise, for a network that in training sees the label, too.

    Args:
        latent_dim: L, numbers that the network draws for an image.
    """

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor], dict[str, Any]]:
        """Prepare one batch.

        Args:
            batchdata: "image" [B, 3, H, W] in [0, 1] and "label" [B, 1, H, W], or [B, K, H, W] as the mean of raters.

        Returns:
            The image; the label map; the network's further arguments, label map and noise [B, L]; no keyword arguments.
        """
        image, label = _image_and_label(batchdata, device=device, non_blocking=non_blocking, **kwargs)
        # Every process draws for all, as one process would, and takes its share.
        noise = own_share(torch.randn((len(image) * num_processes(), self.latent_dim), device=image.device))
        return image, label, (label, noise), {}


class PrepareImageBatch(PrepareBatch):
    """One tensor as input and as target, for reconstruction.

    Args:
        key: of the batch.
    """

    def __init__(self, key: str = "image") -> None:
        self.key = key

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The tensor under the key, [B, C, *spatial], twice, on the device."""
        image = batchdata[self.key].to(device=device, non_blocking=non_blocking, **kwargs)
        return image, image


def _image_and_label(batchdata: dict[str, torch.Tensor], **to: Any) -> tuple[torch.Tensor, torch.Tensor]:
    image, label = (convert_to_tensor(batchdata[key], track_meta=False).to(**to) for key in ("image", "label"))
    return image, label
