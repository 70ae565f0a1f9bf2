from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from leaf_seg.diffusion.sampling import Ddim
from leaf_seg.inference import SegmentationInferer, TileInferer
from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter, SavedNetwork
from leaf_seg.networks.ensemble import Ensemble
from leaf_seg.networks.latent_segmenter import ALIKE
from leaf_seg.runtime.errors import InputError

SIZE = (32, 32)
CPU = torch.device("cpu")


def unet(seed: int = 0, num_classes: int = 3, size: tuple[int, int] = SIZE) -> BasicUNetSegmenter:
    torch.manual_seed(seed)
    return BasicUNetSegmenter(num_classes, size, features=(4,) * 6).eval()


@pytest.fixture
def members(make_segmenter: Callable[..., LatentSegmenter]) -> list[SavedNetwork]:
    return [make_segmenter(3, SIZE), unet(0), unet(1)]


@torch.no_grad()
def test_hypotheses_are_the_members_answers_and_the_answer_is_their_mean(members: list[SavedNetwork]) -> None:
    ensemble, image = Ensemble(members), torch.rand(2, 3, *SIZE)
    answers = torch.stack([member(image) for member in members])
    assert answers.std(dim=0).max() > 1e-2
    torch.testing.assert_close(ensemble.hypotheses(image, ensemble.noise_seeds(3)), answers)
    torch.testing.assert_close(ensemble.hypotheses(image, [2]), answers[2:])
    torch.testing.assert_close(ensemble(image), answers.mean(dim=0))


@torch.no_grad()
@pytest.mark.parametrize("kind", [SegmentationInferer, TileInferer])
def test_answers_have_every_member(kind: type[SegmentationInferer], members: list[SavedNetwork]) -> None:
    pictures = torch.rand(2, 3, 40, 37)
    options: dict[str, Any] = {"num_samples": 3, "uncertainty": True, "keep_hypotheses": True}
    found: Any = kind(SIZE, **options)(pictures, Ensemble(members))
    alone = torch.stack([torch.as_tensor(kind(SIZE)(pictures, member)) for member in members], dim=1)
    torch.testing.assert_close(found.hypotheses, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pred, alone.mean(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        found.variance, alone.var(dim=1, correction=0).sum(1, keepdim=True), rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(kind(SIZE)(pictures, Ensemble(members)), found.pred, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_members_in_half_precision(members: list[SavedNetwork]) -> None:
    image = torch.rand(2, 3, *SIZE)
    expected = Ensemble(members).hypotheses(image, range(3))
    ensemble = Ensemble(members)
    assert ensemble.stages == (
        "members.0.encode_image",
        "members.0.segment_latent",
        "members.1.forward",
        "members.2.forward",
    )
    fast = FastNetwork(ensemble, CPU, "bf16", channels_last=True, compile="cudagraphs")
    torch.testing.assert_close(fast.hypotheses(image, range(3)), expected, rtol=0, atol=0.05)
    assert next(members[1].parameters()).dtype == torch.bfloat16


def test_another_number_of_hypotheses_is_refused(members: list[SavedNetwork]) -> None:
    ensemble = Ensemble(members)
    for number in (1, 3):
        SegmentationInferer(SIZE, num_samples=number).check(ensemble, CPU)
    with pytest.raises(
        InputError, match=r"5 hypotheses or noise seeds are asked of an ensemble of 3 members.* num_samples"
    ):
        SegmentationInferer(SIZE, num_samples=5).check(ensemble, CPU)
    with pytest.raises(InputError, match="numbers of members, 0 to 2"):
        ensemble.hypotheses(torch.rand(1, 3, *SIZE), [7])


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "1 member; expected at least two"),
        ([unet(num_classes=4)], r"\(3, \(32, 32\)\), \(4, \(32, 32\)\).* the same"),
        ([unet(size=(32, 64))], r"\(3, \(32, 64\)\).* the same"),
    ],
)
def test_members_that_do_not_fit(others: list[SavedNetwork], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ensemble([unet(), *others])
    with pytest.raises(InputError, match="Ensemble asks saved models in another way"):
        _ = Ensemble([unet(), unet(1)]).config


def test_who_asks_a_one_step_model_for_hypotheses_is_told_what_differs(
    make_segmenter: Callable[..., LatentSegmenter], caplog: pytest.LogCaptureFixture
) -> None:
    def told(network: SavedNetwork, number: int) -> list[str]:
        caplog.clear()
        SegmentationInferer(network.image_size, num_samples=number).check(network, CPU)
        return caplog.messages

    assert told(make_segmenter(), 8) == [ALIKE % 8]
    assert told(make_segmenter(sampler=Ddim(1)), 2) == [ALIKE % 2]
    assert all(word in ALIKE for word in ("ddim.json", "mc_dropout", "ensemble", "rater_target"))
    several = Ensemble([make_segmenter(), make_segmenter()])
    assert not told(make_segmenter(), 1) + told(make_segmenter(sampler=Ddim(2)), 2) + told(several, 2)
