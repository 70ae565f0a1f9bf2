from __future__ import annotations

import torch

from leaf_seg.distillation import Projector


def test_paper_size() -> None:
    projector = Projector(in_channels=192, embed_dim=768)
    assert sum(parameter.numel() for parameter in projector.parameters()) == 6_165_248


def test_projects_every_token_alone() -> None:
    projector = Projector(in_channels=6, embed_dim=5, hidden_dim=7)
    tokens = torch.randn(2, 9, 6)
    projected = projector(tokens)
    assert projected.shape == (2, 9, 5)
    torch.testing.assert_close(projected[1, 4], projector(tokens[1:2, 4:5])[0, 0])


def test_is_not_linear() -> None:
    projector = Projector(in_channels=6, embed_dim=5, hidden_dim=7)
    origin = projector(torch.zeros(1, 1, 6))
    tokens = torch.randn(1, 3, 6)
    assert not torch.allclose(projector(2 * tokens) - origin, 2 * (projector(tokens) - origin), atol=1e-4)
