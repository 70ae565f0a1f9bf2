from __future__ import annotations

import math

import pytest
import torch

from leaf_seg.distillation import RECIPES, ConvProjector, Projector, alignment_loss, spatially_normalized


def test_spatial_normalization_by_hand() -> None:
    """Two channels over three tokens; the second image has other statistics of its own."""
    tokens = torch.tensor([[[1.0, 10.0], [2.0, 10.0], [6.0, 40.0]], [[0.0, 1.0], [0.0, 2.0], [3.0, 3.0]]])
    first, second = math.sqrt((4 + 1 + 9) / 2), math.sqrt((100 + 100 + 400) / 2)
    expected = torch.tensor([[-2 / first, -10 / second], [-1 / first, -10 / second], [3 / first, 20 / second]])
    found = spatially_normalized(tokens)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1, :, 1], torch.tensor([-1.0, 0.0, 1.0]))
    part = spatially_normalized(tokens, gamma=0.5)
    torch.testing.assert_close(part[0, :, 0], torch.tensor([-0.5, 0.5, 4.5]) / first)


def test_a_channel_without_structure_is_zero() -> None:
    assert torch.equal(spatially_normalized(torch.full((1, 4, 2), 3.0)), torch.zeros(1, 4, 2))


def test_what_all_tokens_share_does_not_count_in_irepa() -> None:
    """A common offset hides the structure in REPA's cosine; in iREPA's it changes nothing."""
    tokens, other, offset = torch.randn(1, 16, 8), torch.randn(1, 16, 8), 100 * torch.randn(8)
    for name, is_moved in (("repa", True), ("irepa", False)):
        make = RECIPES[name].tokens
        plain, moved = (alignment_loss(make(tokens + by), make(other + by)).item() for by in (0, offset))
        assert (moved < -0.99 < plain) if is_moved else moved == pytest.approx(plain, abs=1e-3)


def test_projectors_of_the_recipes() -> None:
    kinds = {name: type(recipe.projector(6, 5, 7)) for name, recipe in RECIPES.items()}
    assert kinds == {"repa": Projector, "irepa": ConvProjector}
