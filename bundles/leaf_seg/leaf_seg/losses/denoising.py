"""The training loss in latent space, and by choice in image space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from leaf_seg.diffusion import NoiseSchedule
from leaf_seg.networks.latents import LatentPart
from leaf_seg.networks.mask_codec import Codec, class_shares
from leaf_seg.networks.one_hot_codec import OneHotCodec
from leaf_seg.runtime.distributed import summed
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import autocast

_NORMS = {"l1": F.l1_loss, "l2": F.mse_loss}


class DenoisingLoss:
    """L1 between the U-Net's output and its target (LEAF Eq. 4; SDSeg's noise loss), or their squared error.

    With ``latent_loss_weight`` lambda > 0 that of the clean latent's estimate is added, lambda |z^0 - z0| (SDSeg's
    direct latent estimation, Lin et al., MICCAI 2024).

    Differs from the paper: with ``image_loss_weight`` > 0 the estimate of the clean latent is decoded and compared with
    the label map, as end-to-end fine-tuning of one-step diffusion models does (Martin Garcia et al., arXiv 2409.11355).

    Args:
        schedule: of the network that is trained.
        mask_decoder: the network's; for the image-space loss.
        codec: between label maps and mask images; for the image-space loss.
        image_loss_weight: weight of the image-space loss; 0 is the papers'.
        latent_loss_weight: lambda; 0 is LEAF's, 1 SDSeg's.
        precision: "fp32", "bf16" or "fp16" of the decoder in the image-space loss.
        norm: of differences between latents: "l1", or "l2" for the squared error (Ho et al.; MedSegLatDiff).

    Raises:
        InputError: When the decoder is to be trained without an image-space loss, a codec that decodes logits has one,
            or the norm is unknown.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        mask_decoder: LatentPart,
        codec: Codec,
        image_loss_weight: float = 0.0,
        latent_loss_weight: float = 0.0,
        precision: str = "fp32",
        norm: str = "l1",
    ) -> None:
        if mask_decoder.trainable and not image_loss_weight:
            raise InputError("train_decoder needs the image-space loss: set image_loss_weight above 0.")
        if image_loss_weight and isinstance(codec, OneHotCodec):  # whose mask images are no logits
            raise InputError(f"image_loss_weight is {image_loss_weight}; expected 0 with a OneHotCodec.")
        if norm not in _NORMS:
            raise InputError(f"norm is {norm!r}; expected one of {', '.join(_NORMS)}.")
        self.schedule = schedule
        self.mask_decoder = mask_decoder
        self.codec = codec
        self.image_loss_weight = image_loss_weight
        self.latent_loss_weight = latent_loss_weight
        self.precision = precision
        self.distance = _NORMS[norm]

    def __call__(self, output: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scalar loss.

        Args:
            output: the U-Net's, [B, 4n, h, w].
            targets: "target", "noisy" and "clean" [B, 4n, h, w], "timesteps" [B], "label" [B, 1, H, W]
                integers or [B, K, H, W] shares.
        """
        loss = self.distance(output.to(torch.promote_types(output.dtype, torch.float32)), targets["target"])
        if not (self.image_loss_weight or self.latent_loss_weight):
            return loss
        latent = self.schedule.clean_latent(output, targets["noisy"], targets["timesteps"])
        if self.latent_loss_weight:
            loss = loss + self.latent_loss_weight * self.distance(latent, targets["clean"])
        if self.image_loss_weight:
            with autocast(latent.device, self.precision):
                images = self.mask_decoder(latent)
            loss = loss + self.image_loss_weight * mask_loss(images.float(), targets["label"], self.codec)
        return loss


def mask_loss(images: torch.Tensor, label: torch.Tensor, codec: Codec) -> torch.Tensor:
    """Soft Dice loss (mean over the foreground classes of the whole batch) plus the mean squared error.

    The whole batch is that of all processes: their averaged gradients are those of one that has all of it.

    The squared error is of the mask images as they are decoded, before they are cut to [-1, 1]: so a pixel that is
    wrong beyond doubt still has a gradient, which Dice and cross-entropy of its probability, exactly 0, do not give.

    Args:
        images: decoded mask images, [B * n, 3, H, W].
        label: [B, 1, H, W] integers, or the share of each class [B, K, H, W].
        codec: turns one into the other.
    """
    probabilities = codec.decode(images)  # [B, K, H, W]
    truth = class_shares(label, codec.num_classes)
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))[1:]  # [K - 1]
    total = (probabilities + truth).sum(dim=(0, 2, 3))[1:]
    overlap, total = summed(torch.stack([overlap, total]))
    dice = ((2 * overlap + 1) / (total + 1)).mean()
    return 1 - dice + F.mse_loss(images, codec.encode(label))
