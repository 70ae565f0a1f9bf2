from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from leaf_seg.networks import (
    NETWORKS,
    BasicUNetSegmenter,
    ClassPassSegmenter,
    DynUNetSegmenter,
    LatentSegmenter,
    ProbabilisticUNetSegmenter,
    SavedNetwork,
    SegResNetSegmenter,
    SwinUNetSegmenter,
    TransUNetSegmenter,
)

SIZE = (64, 96)


@pytest.fixture
def networks(make_segmenter: Callable[..., LatentSegmenter]) -> dict[str, SavedNetwork]:
    """One of each class."""
    return {
        "LatentSegmenter": make_segmenter(4, SIZE),
        "ClassPassSegmenter": make_segmenter(4, SIZE, kind=ClassPassSegmenter),
        "BasicUNetSegmenter": BasicUNetSegmenter(4, SIZE, features=(4, 4, 4, 4, 4, 4)).eval(),
        "DynUNetSegmenter": DynUNetSegmenter(4, SIZE, filters=(4, 4, 4)).eval(),
        "ProbabilisticUNetSegmenter": ProbabilisticUNetSegmenter(4, SIZE, features=(4, 4, 4, 4, 4, 4)).eval(),
        "SegResNetSegmenter": SegResNetSegmenter(4, SIZE, init_filters=8, blocks_down=(1, 1)).eval(),
        "SwinUNetSegmenter": SwinUNetSegmenter(4, SIZE, feature_size=12, depths=(1, 1, 1, 1)).eval(),
        "TransUNetSegmenter": TransUNetSegmenter(4, SIZE, filters=(4, 4), hidden_size=8, num_heads=2).eval(),
    }


def test_classes_by_their_names(networks: dict[str, SavedNetwork]) -> None:
    assert {name: type(network) for name, network in networks.items()} == NETWORKS


def test_each_is_what_a_model_folder_may_hold(networks: dict[str, SavedNetwork]) -> None:
    for network in networks.values():
        again = type(network).from_config(network.config)
        again.load_state_dict(network.state_dict())
        assert (again.num_classes, again.image_size) == (4, SIZE)
        image = torch.rand(2, 1, *SIZE)
        assert torch.equal(again.eval()(image), network(image))
        torch.testing.assert_close(network(image).sum(dim=1), torch.ones(2, *SIZE))
