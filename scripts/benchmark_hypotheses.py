"""What several hypotheses of one picture cost, part by part, beside what one costs.

A model segments a random picture of its own size, once with one hypothesis and once with several, in turn. The image is
encoded once for all of them; U-Net, decoder and codec run for each, in one batch of at most 16.

On a CPU the time is that of the process's CPU, in one thread unless told otherwise; on a GPU it is wall time. Absolute
times differ from machine to machine: quote the ratios.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import aligned
from leaf_seg.weights import load_network
from measuring import CONFIGS, machine, now, run_benchmark

logger = logging.getLogger("benchmark")

WHOLE, REST = "whole", "noise, resizing, mean"
Times = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table; the exit code is 0, or 2 for bad input."""
    return run_benchmark(_benchmark, _parser().parse_args(arguments), logger)


def _benchmark(options: argparse.Namespace) -> None:
    device = select_device(options.device)
    network = load_network(options.model)
    if not isinstance(network, LatentSegmenter):
        raise InputError(f"{options.model} holds a {type(network).__name__}; expected a LatentSegmenter.")
    numbers = (1, options.num_samples)
    rounds = measure(network.to(device).eval(), device, numbers, options.rounds)
    logger.info("%s, %d rounds\n%s", machine(device, options.threads), options.rounds, report(rounds, numbers))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=str(CONFIGS.parent / "models"), help="model folder")
    parser.add_argument("--num_samples", type=int, default=16, help="hypotheses, compared with one")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=15, help="times that each has its turn; medians of these")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of PyTorch")
    return parser


@torch.no_grad()
def measure(
    network: LatentSegmenter, device: torch.device, numbers: Sequence[int], rounds: int
) -> dict[int, list[Times]]:
    """Seconds of each part for each number of hypotheses, in every round; the parts' methods stay changed."""
    times: Times = defaultdict(float)
    _time(times, "image encoder", network, "encode_image", device)
    _time(times, "U-Net", network, "denoise", device)
    _time(times, "mask decoder", network.mask_decoder, "forward", device)
    _time(times, "codec", network.codec, "decode", device)
    image = torch.rand(1, 3, *network.image_size, generator=torch.Generator().manual_seed(1)).to(device)
    runs = {n: SegmentationInferer(network.image_size, num_samples=n) for n in numbers}
    found: dict[int, list[Times]] = {number: [] for number in numbers}
    for i in range(rounds + 1):
        for number, inferer in runs.items():
            times.clear()
            start = now(device)
            inferer(image, network)
            whole = now(device) - start
            if i:  # the first one chooses algorithms
                found[number].append({**times, REST: whole - sum(times.values()), WHOLE: whole})
    return found


def _time(times: Times, part: str, owner: Any, method: str, device: torch.device) -> None:
    """Let a method add the seconds that it takes to those of its part."""
    setattr(owner, method, partial(_timed, times, part, getattr(owner, method), device))


def _timed(times: Times, part: str, run: Callable[..., Any], device: torch.device, *args: Any) -> Any:
    start = now(device)
    result = run(*args)
    times[part] += now(device) - start
    return result


def report(rounds: dict[int, list[Times]], numbers: Sequence[int]) -> str:
    """A table as text: medians in ms, and how many times that of one the several are."""
    one, several = (rounds[number] for number in numbers)
    rows = [["ms", "1", str(numbers[1]), "times", "(range)"]]
    for part in one[0]:
        ratios = [more[part] / less[part] for less, more in zip(one, several, strict=True)]
        medians = [1000 * statistics.median(times[part] for times in found) for found in (one, several)]
        spread = f"({min(ratios):.1f}-{max(ratios):.1f})"
        rows.append([part, *(f"{median:.1f}" for median in medians), f"{statistics.median(ratios):.2f}", spread])
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(main())
