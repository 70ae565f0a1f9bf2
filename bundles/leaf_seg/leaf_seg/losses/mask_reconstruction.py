"""The loss of an autoencoder of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from leaf_seg.runtime.errors import InputError

KINDS = ("cross_entropy", "squared_error")


class MaskReconstructionLoss(nn.Module):
    """Class-weighted cross-entropy of the decoded logits, plus the codebook's loss (MedSegLatDiff, arXiv 2512.01292).

    Small structures are few of a label map's pixels, so that without weights their errors count little.

    Args:
        num_classes: number of classes K, background included.
        class_weights: of background and of every foreground class, two numbers; or of each class, K numbers.
        kind: "cross_entropy", or "squared_error" between what is decoded and -1 or 1, without weights, to compare with.

    Raises:
        InputError: When the number of weights is another, or the kind is unknown.
    """

    weights: torch.Tensor

    def __init__(
        self, num_classes: int, class_weights: Sequence[float] = (1.0, 50.0), kind: str = "cross_entropy"
    ) -> None:
        super().__init__()
        if len(class_weights) not in (2, num_classes):
            raise InputError(
                f"class_weights has {len(class_weights)} numbers; expected 2, of background and foreground, or "
                f"{num_classes}, of each class."
            )
        if kind not in KINDS:
            raise InputError(f"mask_loss is {kind!r}; expected one of {', '.join(KINDS)}.")
        self.kind = kind
        weights = [*class_weights, *[class_weights[-1]] * (num_classes - len(class_weights))]
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, pred: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            pred: "reconstruction" [B, K, H, W], logits; of a VQModel "codebook_loss", a scalar.
            image: of the label map, [B, K, H, W]: 1 in the channel of the class, -1 elsewhere.
        """
        decoded = pred["reconstruction"].float()
        if self.kind == "squared_error":
            error = F.mse_loss(decoded, image)
        else:  # the weighted mean over the pixels
            error = F.cross_entropy(decoded, image.argmax(dim=1), self.weights.to(decoded.device))
        return error + pred.get("codebook_loss", 0)
