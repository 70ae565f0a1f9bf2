"""Precision auto: what is chosen, told, and never chosen."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from torch import nn

from leaf_seg.inference.auto_network import LEAST_FOREGROUND, AutoNetwork, Candidate
from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.networks import LatentSegmenter

CPU = torch.device("cpu")
Make = Callable[..., LatentSegmenter]


@pytest.fixture
def clear_cut(make_segmenter: Make) -> LatentSegmenter:
    """A network whose labels rounding does not change: every pixel is surely of class 1."""
    network = make_segmenter()
    conv = network.get_submodule("mask_decoder.decoder.conv_out")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight *= 0.01
        conv.bias.copy_(torch.tensor([0.9, -0.9, -0.9]))
    return network


def decide(network: AutoNetwork, seconds: dict[str, float]) -> list[torch.Tensor]:
    """Segment until it has decided, with times that the machine would take."""
    network._timed = lambda own, image: (own(image), seconds[own.precision])  # type: ignore[assignment,method-assign]
    answers = []
    with torch.no_grad():
        while network.chosen is None:
            answers.append(network(torch.rand(16, 3, 16, 16)))
    return answers


def test_a_faster_format_that_agrees_is_taken(clear_cut: LatentSegmenter, caplog: pytest.LogCaptureFixture) -> None:
    plain = copy.deepcopy(clear_cut)
    with caplog.at_level(logging.INFO):
        auto = AutoNetwork(clear_cut, CPU)
        answers = decide(auto, {"fp32": 1.0, "bf16": 0.5})
        assert auto.chosen == "bf16"
        assert len(answers) * 16 * 16 * 16 >= LEAST_FOREGROUND
        image = torch.rand(2, 3, 16, 16)
        with torch.no_grad():
            torch.testing.assert_close(auto(image), FastNetwork(plain, CPU, "bf16")(image), rtol=0, atol=1e-6)
    assert {parameter.dtype for parameter in auto.parameters()} == {torch.bfloat16}
    assert "precision auto: bf16 on cpu (bf16 takes 0.50 of the time of fp32 and differs in 0 of " in caplog.text
    assert "fp32: 1000.0 ms a batch" in caplog.text


def test_a_format_that_does_not_pay_is_not_taken(clear_cut: LatentSegmenter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        auto = AutoNetwork(clear_cut, CPU)
        decide(auto, {"fp32": 1.0, "bf16": 0.97})
    assert auto.chosen == "fp32"
    assert "precision auto: fp32 on cpu (bf16 takes 0.97 of the time" in caplog.text
    assert {parameter.dtype for parameter in auto.parameters()} == {torch.float32}


def test_a_format_that_disagrees_is_never_taken(make_segmenter: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Random weights have many pixels on the edge between two classes."""
    plain = make_segmenter()
    with caplog.at_level(logging.INFO):
        auto = AutoNetwork(make_segmenter(), CPU)
        answers = decide(auto, {"fp32": 1.0, "bf16": 0.01})
    assert auto.chosen == "fp32"
    assert "precision auto: fp32 on cpu (bf16 takes 0.01 of the time" in caplog.text
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(auto(image), plain(image))
    assert answers[0].dtype == torch.float32


def test_it_measures_the_network_at_hand(make_segmenter: Make) -> None:
    auto = AutoNetwork(make_segmenter(), CPU)
    with torch.no_grad():
        answer, seconds = auto._timed(auto._candidates["fp32"].network, torch.rand(2, 3, 16, 16))
    assert answer.shape == (2, 3, 16, 16)
    assert 0 < seconds < 10


def test_answers_are_those_of_fp32_until_it_has_decided(make_segmenter: Make) -> None:
    plain = make_segmenter()
    auto = AutoNetwork(make_segmenter(), CPU)
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(auto(image), plain(image))
        torch.testing.assert_close(auto.hypotheses(image, [0, 1]), plain.hypotheses(image, [0, 1]))
    assert auto.chosen is None


@pytest.mark.slow
def test_without_foreground_it_ends_with_fp32(clear_cut: LatentSegmenter) -> None:
    conv = clear_cut.get_submodule("mask_decoder.decoder.conv_out")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias.fill_(-0.9)  # all is background
    auto = AutoNetwork(clear_cut, CPU)
    assert len(decide(auto, {"fp32": 1.0, "bf16": 0.1})) == 32
    assert auto.chosen == "fp32"


@pytest.mark.parametrize(
    ("differing", "foreground", "agrees", "disagrees"),
    [(0, 10_000, True, False), (4, 10_000, True, False), (8, 10_000, False, False), (25, 10_000, False, True)],
)
def test_few_pixels_prove_nothing(
    differing: int, foreground: int, agrees: bool, disagrees: bool, make_segmenter: Make
) -> None:
    candidate = Candidate(FastNetwork(make_segmenter(), CPU), differing=differing)
    assert candidate.agrees(foreground) is agrees
    assert candidate.disagrees(foreground) is disagrees
