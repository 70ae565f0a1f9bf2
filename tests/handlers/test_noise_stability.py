"""Evaluation with several noise seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import AsDiscreted

from leaf_seg.engines import BundleEvaluator
from leaf_seg.handlers import NoiseStability
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.metrics import class_dice
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter
from leaf_seg.runtime.errors import InputError

Make = Callable[..., LatentSegmenter]
NAMES = ["background", "x", "y"]
BATCHES = [
    {
        "image": torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(index)),
        "label": torch.randint(0, 3, (1, 1, 20, 24), generator=torch.Generator().manual_seed(index)),
    }
    for index in range(2)
]


def make_evaluator(network: torch.nn.Module, **options: Any) -> BundleEvaluator:
    arguments: dict[str, Any] = {"inferer": SegmentationInferer((16, 16)), **options}
    return BundleEvaluator(
        device="cpu",
        network=network,
        val_data_loader=BATCHES,
        postprocessing=AsDiscreted("pred", argmax=True),
        **arguments,
    )


def make_handler(network: Any, num_seeds: Any, folder: Path, size: tuple[int, int] = (16, 16)) -> NoiseStability:
    inferer = SegmentationInferer(size)
    return NoiseStability(make_evaluator(network, inferer=inferer), inferer, network, num_seeds, NAMES, folder)


def run(network: LatentSegmenter, num_seeds: int, folder: Path) -> dict[str, Any]:
    """The summary that an evaluation leaves."""
    (folder / "metrics_summary.json").write_text('{"n": 2}')
    handler = make_handler(network, num_seeds, folder)
    make_evaluator(network, val_handlers=[handler]).run()
    return json.loads((folder / "metrics_summary.json").read_text())


def label_maps(network: LatentSegmenter) -> list[torch.Tensor]:
    """Those of the cases, by the network alone."""
    inferer = SegmentationInferer((16, 16))
    with torch.no_grad():
        return [inferer(batch["image"], network)[0].argmax(0) for batch in BATCHES]  # type: ignore[index]


def mean_dice(network: LatentSegmenter) -> list[float]:
    """Mean Dice over the cases of classes x and y."""
    pairs = zip(label_maps(network), BATCHES, strict=True)
    cases = [class_dice(pred, batch["label"][0, 0], 3) for pred, batch in pairs]
    return torch.tensor(cases, dtype=torch.float64).mean(dim=0).tolist()


def test_each_seed_gives_what_a_model_of_that_seed_gives(make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter(noise_seed=4)
    noise = network.noise
    summary = run(network, 3, tmp_path)
    assert summary["n"] == 2, "the rest of the summary stays"
    stability = summary["noise_stability"]
    assert stability["noise_seeds"] == [4, 5, 6]
    expected = [mean_dice(make_segmenter(noise_seed=seed)) for seed in (4, 5, 6)]
    assert expected[0] != expected[1]
    for index, name in enumerate(NAMES[1:]):
        per_seed = stability["classes"][name]["dice"]["per_seed"]
        assert per_seed == pytest.approx([values[index] for values in expected])
    assert stability["mean_foreground"]["dice"]["std"] > 0
    maps = [label_maps(make_segmenter(noise_seed=seed)) for seed in (4, 5, 6)]
    first = torch.stack(maps[0]) == 1
    mse = torch.stack([(torch.stack(others) == 1) != first for others in maps[1:]]).double().mean()
    assert stability["similarity"]["classes"]["x"]["psnr"] == pytest.approx(-10 * math.log10(mse))
    assert 0 < stability["similarity"]["mean_foreground"]["ssim"] < 1
    assert network.noise is noise
    assert network.noise_seed == 4


def test_equal_noise_has_no_spread(make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter()
    network.initial_noise = lambda seed: torch.ones(1, 4, 4, 4)  # type: ignore[method-assign]
    foreground = run(network, 3, tmp_path)["noise_stability"]["mean_foreground"]["dice"]
    assert foreground["std"] == pytest.approx(0, abs=1e-12)
    assert foreground["mean"] > 0
    similarity = json.loads((tmp_path / "metrics_summary.json").read_text())["noise_stability"]["similarity"]
    assert similarity["mean_foreground"] == {"psnr": None, "ssim": pytest.approx(1), "ms_ssim": None}


def test_the_network_keeps_its_noise_when_a_pass_fails(make_segmenter: Make, tmp_path: Path) -> None:
    network = make_segmenter()
    noise = network.noise
    with pytest.raises(RuntimeError):
        make_handler(network, 2, tmp_path, size=(16, 24))()  # not the network's size
    assert network.noise is noise


def test_a_network_without_noise_is_an_error(tmp_path: Path) -> None:
    network = BasicUNetSegmenter(3, (32, 32), features=(4, 4, 4, 4, 4, 4))
    with pytest.raises(InputError, match=r"BasicUNetSegmenter draws no noise: .* 10 hypotheses or noise seeds"):
        make_handler(network, 10, tmp_path)


@pytest.mark.parametrize("num_seeds", [0, -1, 2.5, "ten"])
def test_unfit_number_of_seeds_is_an_error(make_segmenter: Make, tmp_path: Path, num_seeds: Any) -> None:
    network = make_segmenter()
    with pytest.raises(InputError, match="num_noise_seeds is"):
        make_handler(network, num_seeds, tmp_path)
