from __future__ import annotations

import pytest
import torch

from leaf_seg.losses import MaskReconstructionLoss
from leaf_seg.networks import OneHotCodec
from leaf_seg.runtime.errors import InputError

LABEL = torch.tensor([[[[0, 0, 1, 2]]]])
IMAGE = OneHotCodec(3).encode(LABEL)


@pytest.mark.parametrize(("class_weights", "of_each"), [((1.0, 50.0), (1, 50, 50)), ((2.0, 3.0, 7.0), (2, 3, 7))])
def test_weighted_cross_entropy_by_hand(class_weights: tuple[float, ...], of_each: tuple[int, ...]) -> None:
    logits = torch.randn(1, 3, 1, 4, dtype=torch.float64)
    loss = MaskReconstructionLoss(3, class_weights)({"reconstruction": logits}, IMAGE)
    total, weights = 0.0, 0.0
    for pixel, label in enumerate(LABEL.flatten().tolist()):
        exponentials = logits[0, :, 0, pixel].exp()
        total += of_each[label] * -float((exponentials[label] / exponentials.sum()).log())
        weights += of_each[label]
    assert float(loss) == pytest.approx(total / weights, rel=1e-5)


def test_squared_error_and_codebook() -> None:
    decoded, codebook = torch.randn(1, 3, 1, 4), torch.tensor(0.5)
    loss = MaskReconstructionLoss(3, kind="squared_error")
    expected = (decoded - IMAGE).square().mean() + 0.5
    torch.testing.assert_close(loss({"reconstruction": decoded, "codebook_loss": codebook}, IMAGE), expected)


def test_weights_of_other_classes_and_unknown_kinds() -> None:
    with pytest.raises(InputError, match="class_weights has 4 numbers; expected 2, of background and foreground, or 3"):
        MaskReconstructionLoss(3, (1.0, 2.0, 3.0, 4.0))
    with pytest.raises(InputError, match="mask_loss is 'dice'; expected one of cross_entropy, squared_error"):
        MaskReconstructionLoss(3, kind="dice")
