"""From a batch of slices to what a network that is told a class takes."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils import convert_to_tensor

from leaf_seg.diffusion import NoiseSchedule, TimestepSampler
from leaf_seg.engines.prepare_batch import PrepareDenoisingBatch
from leaf_seg.networks import DrawnClass, MaskEncoder
from leaf_seg.runtime.errors import InputError


class PrepareClassBatch(PrepareDenoisingBatch):
    """Draws a class of each slice first: what is encoded and noised is the binary mask of that class.

    Args:
        schedule: of the network that is trained.
        mask_encoder: frozen encoder of binary masks: its codec is of two classes.
        timestep_sampler: draws the timesteps.
        drawn_class: draws the classes.
        precision: as for :class:`PrepareDenoisingBatch`.

    Raises:
        InputError: When the mask encoder's codec is of other than two classes.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        mask_encoder: MaskEncoder,
        timestep_sampler: TimestepSampler,
        drawn_class: DrawnClass,
        precision: str = "fp32",
    ) -> None:
        super().__init__(schedule, mask_encoder, timestep_sampler, precision)
        if mask_encoder.codec.num_classes != 2:
            raise InputError(
                f"The mask encoder's codec is of {mask_encoder.codec.num_classes} classes; expected 2, inside and "
                "outside of the class that is drawn."
            )
        self.drawn_class = drawn_class

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor], dict[str, Any]]:
        """Prepare one batch.

        Args:
            batchdata: as for :class:`PrepareDenoisingBatch`, with labels of K classes.

        Returns:
            As of :class:`PrepareDenoisingBatch`, with latents [B, 4, h, w], and as "label" the shares of outside and
            inside [B, 2, H, W]; the keyword arguments of the network are the ``class_labels`` [B].
        """
        label = convert_to_tensor(batchdata["label"], track_meta=False)
        classes, mask = self.drawn_class(label.to(device=device, non_blocking=non_blocking, **kwargs))
        batch = {**batchdata, "label": mask}
        image, targets, arguments, _ = super().__call__(batch, device, non_blocking, **kwargs)
        return image, targets, arguments, {"class_labels": classes}
