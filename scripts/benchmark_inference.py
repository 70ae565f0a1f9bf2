"""What it costs to segment at the paper's scale: the published composition in its own mode, and leaf_seg.

Published is what the paper puts together, of plain diffusers modules of the published sizes: AutoencoderKL (kl-f8) and
UNet2DModel, in fp32, and under autocast as the paper's code runs it. leaf_seg has the same weights, as
inference_gpu.json sets them up, and with a light decoder (AutoencoderTiny) in place of the published one. All take
turns in one run. The weights are random: what differs from fp32 is told, not how good a segmentation is.

On a CPU the time is that of the process's CPU, in one thread unless told otherwise; on a GPU it is wall time. Absolute
times differ from machine to machine: quote the ratios.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import logging
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from leaf_seg.diffusion import DiffusionSettings
from leaf_seg.inference.fast_network import COMPILE, FastNetwork
from leaf_seg.networks import LatentDecoder, LatentEncoder, LatentSegmenter, MaskCodec, build_conditional_unet
from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.precision import autocast
from leaf_seg.runtime.text import aligned
from measuring import (
    CONFIGS,
    SCHEDULE,
    autoencoder_config,
    forget_peak,
    held_memory,
    machine,
    mebibytes,
    now,
    peak_memory,
    rate,
    run_benchmark,
    unet_config,
)

logger = logging.getLogger("benchmark")

SMALL_LIGHT = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}  # of a rehearsal


class Published(nn.Module):
    """The paper's segmentation of plain diffusers modules, two classes.

    Args:
        autoencoder: of image and mask.
        unet: from image latent and noise to the clean mask latent.
        noise: [1, 4, h, w].
        autocast_to: number format of autocast; "fp32" for none.
    """

    noise: torch.Tensor

    def __init__(self, autoencoder: AutoencoderKL, unet: UNet2DModel, noise: torch.Tensor, autocast_to: str) -> None:
        super().__init__()
        self.autoencoder: Any = autoencoder  # diffusers' types are lazy
        self.unet: Any = unet
        self.register_buffer("noise", noise)
        self.autocast_to = autocast_to

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Foreground [B, H, W] of images [B, 3, H, W] in [0, 1]."""
        scale = self.autoencoder.config["scaling_factor"]
        with nullcontext() if self.autocast_to == "fp32" else autocast(image.device, self.autocast_to):
            image_latent = self.autoencoder.encode(image * 2 - 1).latent_dist.mode() * scale
            noise = self.noise.expand(len(image), -1, -1, -1)
            clean = self.unet(torch.cat([image_latent, noise], dim=1), 999).sample
            images = self.autoencoder.decode(clean / scale).sample
        return (images.float().clamp(-1, 1).mean(dim=1) + 1) / 2 > 0.5


class Labels(nn.Module):
    """The same of a network of leaf_seg."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Foreground [B, H, W] of images [B, 3, H, W] in [0, 1]."""
        return self.network(image)[:, 1] > 0.5


@dataclass
class Candidate:
    """What is measured.

    Attributes:
        name: for the table.
        network: from images to foreground.
        gflop: of one image.
        is_comparable: whether it has the published weights, so that its answer can be compared.
        seconds: of a batch, one number for each round.
        peak: bytes that a batch takes beside the weights; None where that cannot be told.
        answer: foreground of the batch.
    """

    name: str
    network: nn.Module
    gflop: float
    is_comparable: bool = True
    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    answer: torch.Tensor = field(default_factory=lambda: torch.zeros(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table for every batch size; the exit code is 0, or 2 for bad input."""
    return run_benchmark(_benchmark, _parser().parse_args(arguments), logger)


@torch.no_grad()
def _benchmark(options: argparse.Namespace) -> None:
    device = select_device(options.device)
    precision = options.precision or ("fp16" if device.type == "cuda" else "bf16")
    candidates = _candidates(device, precision, options)
    for batch_size in options.batch_size:
        _measure(candidates, device, batch_size, options)
        logger.info("%s\n", report(candidates, device, precision, batch_size, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", help="of all but the first: bf16 or fp16 (without: fp16 on CUDA, else bf16)")
    parser.add_argument("--compile", choices=COMPILE, help="of leaf_seg (without: as inference_gpu.json has it)")
    parser.add_argument("--image_size", type=int, default=256, help="pixels along each side, a multiple of 128")
    parser.add_argument("--batch_size", type=int, nargs="+", default=[1], help="images at a time, one table for each")
    parser.add_argument("--rounds", type=int, default=5, help="times that each has its turn; medians of these")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of PyTorch")
    parser.add_argument("--small", action="store_true", help="small networks, to try the script itself")
    return parser


def _candidates(device: torch.device, precision: str, options: argparse.Namespace) -> list[Candidate]:
    """The compositions, on the device."""
    torch.manual_seed(0)
    autoencoder = AutoencoderKL(**autoencoder_config(options.small)).eval()
    unet = build_conditional_unet(unet_config(options.small)).eval()
    plain = _segmenter(autoencoder, unet, LatentDecoder(autoencoder), options.image_size)
    light_autoencoder = AutoencoderTiny(**(SMALL_LIGHT if options.small else {}))
    light = _segmenter(autoencoder, unet, LatentDecoder(light_autoencoder), options.image_size)
    setting = json.loads((CONFIGS / "inference_gpu.json").read_text())
    ready: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "channels_last": setting["channels_last"],
        "compile": options.compile or setting["compile"],
    }
    published = Published(autoencoder, unet, plain.noise, "fp32").to(device).eval()
    in_its_mode = Published(autoencoder, unet, published.noise, precision).eval()
    flops = [_gflop(network, options.image_size) for network in (published, Labels(plain), Labels(light))]
    return [
        Candidate("published fp32", published, flops[0]),
        Candidate(f"published {precision}", in_its_mode, flops[0]),
        Candidate(f"leaf_seg {precision}", Labels(FastNetwork(copy.deepcopy(plain), **ready)), flops[1]),
        Candidate(f"leaf_seg {precision}, light decoder", Labels(FastNetwork(light, **ready)), flops[2], False),
    ]


def _segmenter(
    autoencoder: AutoencoderKL, unet: UNet2DModel, decoder: LatentDecoder, image_size: int
) -> LatentSegmenter:
    """The composition of leaf_seg, of copies."""
    diffusion = DiffusionSettings(DDIMScheduler(**SCHEDULE))
    parts = (LatentEncoder(autoencoder), copy.deepcopy(unet), decoder, MaskCodec(2))
    return LatentSegmenter(*parts, diffusion=diffusion, image_size=(image_size, image_size)).eval()


def _gflop(network: nn.Module, image_size: int) -> float:
    """Multiplications and additions for one image, counted without computing anything."""
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(network).to("meta")(torch.zeros(1, 3, image_size, image_size, device="meta"))
    return counter.get_total_flops() / 1e9


def _measure(candidates: list[Candidate], device: torch.device, batch_size: int, options: argparse.Namespace) -> None:
    """Let the candidates segment the same batch in turn."""
    generator = torch.Generator("cpu").manual_seed(1)
    image = torch.rand(batch_size, 3, options.image_size, options.image_size, generator=generator).to(device)
    for candidate in candidates:  # algorithms are chosen, graphs captured
        candidate.answer = candidate.network(image)
        candidate.peak = _peak(lambda candidate=candidate: candidate.network(image), device)  # type: ignore[misc]
        candidate.seconds = []
    for _ in range(options.rounds):
        for candidate in candidates:
            start = now(device)
            candidate.network(image)
            candidate.seconds.append(now(device) - start)


def _peak(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that a run takes at most, beside what there is; on a CPU only where Linux tells."""
    if held_memory(device) is None:
        return None
    if device.type == "cpu":
        ctypes.CDLL(None).malloc_trim(0)  # what other runs have left would be used again, and not be seen
    forget_peak(device)
    before = held_memory(device)
    run()
    peak = peak_memory(device)
    return None if peak is None or before is None else peak - before


def report(
    candidates: Sequence[Candidate],
    device: torch.device,
    precision: str,
    batch_size: int,
    options: argparse.Namespace,
) -> str:
    """A table as text: times, ratios to the published mode, and the time that the arithmetic alone would take."""
    reference, own_mode = candidates[0], candidates[1]
    rates = {name: rate(device, name, options.small) for name in ("fp32", precision)}
    rows = [["", "ms", "times as fast", "(range)", "GFLOP an image", "floor ms", "peak MiB", "differing pixels"]]
    for candidate in candidates:
        ratios = [other / own for own, other in zip(candidate.seconds, own_mode.seconds, strict=True)]
        own_rate = rates["fp32" if candidate is reference else precision]
        differing = (candidate.answer != reference.answer).float().mean()
        rows.append(
            [
                candidate.name,
                f"{1000 * statistics.median(candidate.seconds):.1f}",
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"{candidate.gflop:.1f}",
                f"{1000 * batch_size * candidate.gflop / own_rate:.1f}",
                mebibytes(candidate.peak),
                f"{differing:.3%}" if candidate.is_comparable else "-",
            ]
        )
    title = (
        f"{machine(device, options.threads)}; {options.image_size} px, batch {batch_size}; medians of {options.rounds} "
        f"rounds; times as fast as {own_mode.name}; products of matrices: "
        f"{', '.join(f'{value:.0f} GFLOP/s in {name}' for name, value in rates.items())}; PyTorch {torch.__version__}"
    )
    return f"{title}\n\n{aligned(rows)}"


if __name__ == "__main__":
    sys.exit(main())
