from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from leaf_seg.inference import fast_network, fitting_batch_size, network_for, tensorrt_network
from leaf_seg.inference.auto_network import AutoNetwork
from leaf_seg.inference.fast_network import FastNetwork
from leaf_seg.inference.network_for import fitting_number
from leaf_seg.inference.tensorrt_network import _digest
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError

CPU = torch.device("cpu")
Make = Callable[..., LatentSegmenter]


def test_what_a_precision_makes_of_a_network(make_segmenter: Make) -> None:
    network = make_segmenter()
    for precision in ("fp32", "bf16"):  # by autocast, which is the inferer's
        assert network_for(network, CPU, precision) is network
    assert isinstance(network_for(make_segmenter(), CPU, "auto"), AutoNetwork)
    assert isinstance(fast_network(make_segmenter(), CPU), AutoNetwork)
    fast = fast_network(make_segmenter(), CPU, "bf16", channels_last="false")
    assert isinstance(fast, FastNetwork)
    assert fast.precision == "bf16"
    with pytest.raises(InputError, match="channels_last"):
        fast_network(make_segmenter(), CPU, channels_last="perhaps")


@pytest.mark.parametrize(
    ("free", "one", "two", "most", "number"),
    [(1000, 100, 200, 64, 8), (1600, 100, 200, 8, 8), (50, 100, 200, 64, 1), (10_000, 500, 510, 64, 64)],
)
def test_slices_that_fit(free: int, one: int, two: int, most: int, number: int) -> None:
    assert fitting_number(free, one, two, most) == number


def test_on_a_cpu_a_batch_has_the_usual_size(make_segmenter: Make) -> None:
    assert fitting_batch_size(make_segmenter(), CPU) == 16


@pytest.mark.gpu
def test_a_batch_that_fits_on_a_gpu(make_segmenter: Make) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    network = make_segmenter()
    number = fitting_batch_size(network, device, most=32)
    assert number == 32  # of a tiny network
    assert network(torch.rand(number, 3, 16, 16, device=device)).shape == (32, 3, 16, 16)


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_tensorrt_in_another_precision(precision: str, make_segmenter: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"precision is '{precision}'; expected fp32 or fp16"):
        tensorrt_network(make_segmenter(), CPU, tmp_path / "model", precision)


def test_an_engine_is_of_its_weights_and_settings(make_segmenter: Make) -> None:
    network = make_segmenter()
    found = [_digest(network, {"precision": precision}) for precision in ("fp32", "fp16", "fp16")]
    torch.nn.init.normal_(next(network.parameters()))
    found.append(_digest(network, {"precision": "fp16"}))
    assert found[1] == found[2]
    assert len(set(found)) == 3


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_tensorrt_that_is_missing(make_segmenter: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the packages tensorrt, polygraphy, onnx; not installed: .*tensorrt"):
        tensorrt_network(make_segmenter(), CPU, tmp_path / "model.pt")
