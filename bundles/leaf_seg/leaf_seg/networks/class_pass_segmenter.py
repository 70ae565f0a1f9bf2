"""A segmenter whose U-Net is told a class and gives its mask: one pass for each class."""

from __future__ import annotations

import torch

from leaf_seg.networks.latent_segmenter import LatentSegmenter
from leaf_seg.networks.mask_codec import Codec


class ClassPassSegmenter(LatentSegmenter):
    """SDSeg on several classes (Lin et al., MICCAI 2024; published code): a class embedding, a pass for each class.

    The codec has one image, and so one mask latent, for each class. Outside, the K mask latents of an image stand side
    by side, as the n of the base class do; the U-Net takes one at a time, with its class. So samplers, decoder and
    hypotheses are those of the base class. The passes of all classes are one batch of B * K: in inference an image
    takes about K times the memory.

    ``forward(image, mask_latent, timesteps, class_labels=...)`` is the training's: mask latents of one class each.

    Differs from the paper: the passes of the classes are one batch, which changes no result but by rounding.

    Args:
        *args: as for :class:`LatentSegmenter`; the U-Net has ``num_class_embeds`` K, input of 4 + 4 and output of 4
            channels, the codec K images for K classes.
        **kwargs: likewise.

    Raises:
        InputError: As the base class.
        ValueError: When U-Net and codec do not fit.
    """

    def _check_sizes(self) -> None:
        super()._check_sizes()
        found = self.unet.config.get("num_class_embeds"), self.codec.num_images
        if found != (self.num_classes, self.num_classes):
            raise ValueError(
                f"{self.num_classes} classes need as many class embeddings of the U-Net (num_class_embeds) and images "
                f"of the codec, found {found[0]} and {found[1]}."
            )

    @classmethod
    def latents_at_once(cls, codec: Codec) -> int:
        """One: that of a class."""
        return 1

    def initial_noise(self, seed: int) -> torch.Tensor:
        """Initial noise z_T, [1, 4K, h, w]: that of one latent, the same for every class, as in the published code."""
        return super().initial_noise(seed).repeat(1, self.num_classes, 1, 1)

    def forward(
        self,
        image: torch.Tensor,
        mask_latent: torch.Tensor | None = None,
        timesteps: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As in :class:`LatentSegmenter`, of all classes; or with ``class_labels`` the U-Net's output for these.

        Args:
            image: [B, 3, H, W], or [B, 1, H, W] for grey, in [0, 1].
            mask_latent: noisy mask latents, [B, 4K, h, w], with ``class_labels`` [B, 4, h, w].
            timesteps: [B], needed with ``mask_latent``.
            noise: initial noise, broadcastable to [B, 4K, h, w]; the buffer when not given.
            class_labels: a class of each image, [B] integers in 0 .. K - 1.

        Returns:
            Class probabilities [B, K, H, W], or with ``mask_latent`` the U-Net's output in its shape.

        Raises:
            ValueError: When ``mask_latent`` and ``timesteps`` are not given together, or not with ``class_labels``.
        """
        if class_labels is None:
            return super().forward(image, mask_latent, timesteps, noise)
        if mask_latent is None or timesteps is None:
            raise ValueError("class_labels need mask_latent and timesteps: without them all classes are segmented.")
        return self.denoise_class(self.encode_image(image), mask_latent, timesteps, class_labels)

    def denoise(self, image_latent: torch.Tensor, mask_latent: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The U-Net's output of all classes, [B, 4K, h, w], for z^x, their z_t [B, 4K, h, w] and the timesteps [B]."""
        batch, k = mask_latent.shape[0], self.num_classes
        output = self.denoise_class(
            image_latent[:, None].expand(-1, k, -1, -1, -1).flatten(0, 1),  # [B * K, 4, h, w]
            mask_latent.reshape(-1, self.mask_decoder.channels, *mask_latent.shape[2:]),
            timesteps[:, None].expand(-1, k).flatten(),
            torch.arange(k, device=mask_latent.device).expand(batch, -1).flatten(),
        )
        return output.reshape(batch, -1, *mask_latent.shape[2:])

    def denoise_class(
        self,
        image_latent: torch.Tensor,
        mask_latent: torch.Tensor,
        timesteps: torch.Tensor,
        class_labels: torch.Tensor,
    ) -> torch.Tensor:
        """The U-Net's output of one class for each z^x, [N, 4, h, w]; the other arguments are [N, ...], too."""
        latents = self.diffusion.in_order(image_latent, mask_latent)  # [N, 8, h, w]
        return self.unet(latents, timesteps, class_labels=class_labels).sample
