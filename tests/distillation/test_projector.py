from __future__ import annotations

import torch

from leaf_seg.distillation import ConvProjector, Projector


def test_paper_size() -> None:
    projector = Projector(in_channels=192, embed_dim=768)
    assert sum(parameter.numel() for parameter in projector.parameters()) == 6_165_248


def test_projects_every_place_alone() -> None:
    projector = Projector(in_channels=6, embed_dim=5, hidden_dim=7)
    feature = torch.randn(2, 6, 3, 4)
    tokens = projector(feature)
    assert tokens.shape == (2, 12, 5)
    torch.testing.assert_close(tokens[1, 6], projector(feature[1:2, :, 1:2, 2:3])[0, 0])


def test_is_not_linear() -> None:
    projector = Projector(in_channels=6, embed_dim=5, hidden_dim=7)
    origin = projector(torch.zeros(1, 6, 1, 1))
    feature = torch.randn(1, 6, 1, 3)
    assert not torch.allclose(projector(2 * feature) - origin, 2 * (projector(feature) - origin), atol=1e-4)


def test_a_convolution_projects_every_place_with_its_neighbours() -> None:
    projector = ConvProjector(in_channels=6, embed_dim=5)
    assert sum(parameter.numel() for parameter in projector.parameters()) == 6 * 5 * 9 + 5
    feature = torch.zeros(1, 6, 4, 5, requires_grad=True)
    tokens = projector(feature)
    assert tokens.shape == (1, 20, 5)
    tokens[0, 7].sum().backward()  # row 1, column 2
    assert feature.grad is not None
    reached = feature.grad.abs().sum(dim=1)[0] > 0
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[0:3, 1:4] = True
    assert torch.equal(reached, expected)
