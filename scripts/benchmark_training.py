"""What a training step costs at the paper's scale: the published composition in its own mode, and leaf_seg.

Published is what the paper trains, of plain diffusers and transformers modules of the published sizes, with plain AdamW
and EMA, on a batch that lies ready. leaf_seg is the real engine with all its handlers and its data, as train.json,
methods/leaf_paper.json and profiles/ldm_kl8.json build it; unet is MONAI's BasicUNet, as baselines/unet.json does. All
weights are random.

Each has a process of its own, and they take turns: while one trains, the others wait. What comes first is not counted:
the first epoch, in which algorithms are chosen, the optimiser's state is made, and features are cached where the config
has a cache. All slices are mirrored alike in every epoch, so that such a cache is warm from the second one on.

On a CPU the time is that of the process's CPU, in one thread unless told otherwise; on a GPU it is wall time. Absolute
times differ from machine to machine: quote the ratios.
"""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import aligned
from measured_process import MeasuredProcess, Turn
from measuring import autoencoder_config, machine, mebibytes, rate, run_benchmark
from published_training import random_teacher
from training_candidates import CANDIDATES, Candidate, Job, write_phantoms

logger = logging.getLogger("benchmark")

DEFAULT = ("published_bf16", "leaf_seg")
IMAGE_SIZE, SMALL_IMAGE_SIZE = 256, 128


@dataclass(frozen=True)
class Measured:
    """What is known of a candidate.

    Attributes:
        process: that trains it.
        gflop: of a step.
        turns: one for each round.
    """

    process: MeasuredProcess
    gflop: float
    turns: list[Turn]

    @property
    def candidate(self) -> Candidate:
        """What trains."""
        return CANDIDATES[self.process.name]

    @property
    def seconds(self) -> list[float]:
        """Of a step, one number for each round."""
        return [turn.seconds for turn in self.turns]

    @property
    def peak(self) -> int | None:
        """Bytes that the process had at most; None where that cannot be told."""
        return max((turn.peak for turn in self.turns if turn.peak is not None), default=None)

    def tell_of_growth(self) -> None:
        """Warn where features were cached in the turns: their times are then not those of a warm cache."""
        first, last = self.turns[0].num_features, self.turns[-1].num_features
        if first != last:
            logger.warning(
                "%s: its cache grew from %d to %d files while it was measured.", self.candidate.title, first, last
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table for every batch size; the exit code is 0, or 2 for bad input."""
    return run_benchmark(_benchmark, _parser().parse_args(arguments), logger)


def _benchmark(options: argparse.Namespace) -> None:
    device = select_device(options.device)
    for batch_size in options.batch_size:
        with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
            job = _prepared(Path(folder), device, batch_size, options)
            _check_memory(job, options.candidates)
            measured = _measure(job, options)
        logger.info("%s\n", report(measured, job, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=DEFAULT, help="which take turns")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--batch_size", type=_positive, nargs="+", default=[4], help="slices in a step; a table each")
    parser.add_argument("--rounds", type=_positive, default=3, help="times that each has its turn; medians of these")
    parser.add_argument("--steps", type=_positive, default=1, help="training steps in a turn")
    parser.add_argument("--warm_up", type=_positive, default=3, help="steps of the first epoch, which is not counted")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads of PyTorch")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that load leaf_seg's data; 0: as a step")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="config keys of leaf_seg and unet")
    parser.add_argument("--small", action="store_true", help="small networks, to try the script itself")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} found; expected 1 or more")
    return number


def _prepared(folder: Path, device: torch.device, batch_size: int, options: argparse.Namespace) -> Job:
    """The files that leaf_seg begins from, and what is to be done with them."""
    job = Job(
        folder=folder,
        device=device,
        batch_size=batch_size,
        image_size=SMALL_IMAGE_SIZE if options.small else IMAGE_SIZE,
        is_small=options.small,
        threads=options.threads,
        num_workers=options.num_workers,
        settings=tuple(options.set),
    )
    write_phantoms(job, num_slices=options.warm_up * batch_size)
    with redirect_stderr(io.StringIO()):  # of progress bars
        AutoencoderKL(**autoencoder_config(options.small)).save_pretrained(job.autoencoder)
        random_teacher(job.image_size, options.small).save_pretrained(job.teacher)
    return job


def _check_memory(job: Job, names: Sequence[str]) -> None:
    """Refuse what would not fit into the memory that is free.

    Raises:
        InputError: Says how much is needed, and how much there is.
    """
    candidates = [CANDIDATES[name] for name in dict.fromkeys(names)]
    working = [job.batch_size * candidate.per_image for candidate in candidates]
    # On a GPU PyTorch keeps for each process what its steps have freed.
    needed = sum(candidate.held for candidate in candidates) + (sum if job.device.type == "cuda" else max)(working)
    free = _free_memory(job.device)
    if not job.is_small and free is not None and needed > free:
        titles = ", ".join(candidate.title for candidate in candidates)
        raise InputError(
            f"Batches of {job.batch_size} of {titles} take about {needed:.0f} GiB; found {free:.0f} free. Give fewer "
            "--candidates, or a smaller --batch_size."
        )


def _free_memory(device: torch.device) -> float | None:
    """GiB of the GPU, or of the machine where it is Linux."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**30
    table = Path("/proc/meminfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable:")), None)


def _measure(job: Job, options: argparse.Namespace) -> list[Measured]:
    """Let the candidates train in turn."""
    processes: list[MeasuredProcess] = []
    try:
        processes += [MeasuredProcess(name, job) for name in dict.fromkeys(options.candidates)]
        for process in processes:
            process.wait_until_built()
        for process in processes:
            process.train(options.warm_up)
        measured = [Measured(process, process.count_gflop(), []) for process in processes]
        for _ in range(options.rounds):
            for found in measured:
                found.turns.append(found.process.train(options.steps))
    finally:
        for process in processes:
            process.end()
    for found in measured:
        found.tell_of_growth()
    return measured


def report(measured: Sequence[Measured], job: Job, options: argparse.Namespace) -> str:
    """A table as text: times, ratios to the published mode, and the time that the arithmetic alone would take."""
    reference = next((found for found in measured if found.process.name == DEFAULT[0]), measured[0])
    precisions = dict.fromkeys(found.candidate.precision for found in measured)
    rates = {precision: rate(job.device, precision, job.is_small) for precision in precisions}
    rows = [["", "ms a step", "times as fast", "(range)", "GFLOP an image", "floor ms", "peak MiB", "trained"]]
    for found in measured:
        ratios = [other / own for own, other in zip(found.seconds, reference.seconds, strict=True)]
        rows.append(
            [
                found.candidate.title,
                f"{1000 * statistics.median(found.seconds):.0f}",
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"{found.gflop / job.batch_size:.1f}",
                f"{1000 * found.gflop / rates[found.candidate.precision]:.0f}",
                mebibytes(found.peak),
                f"{found.process.num_trained:,}",
            ]
        )
    title = (
        f"{machine(job.device, options.threads)}; {job.image_size} px, batch {job.batch_size}, {options.num_workers} "
        f"workers; medians of {options.rounds} rounds of {options.steps} steps, after a first epoch of "
        f"{options.warm_up} that is not counted; times as fast as {reference.candidate.title}; products of "
        f"matrices: {', '.join(f'{value:.0f} GFLOP/s in {name}' for name, value in rates.items())}; PyTorch "
        f"{torch.__version__}"
    )
    return f"{title}\n\n{aligned(rows)}"


if __name__ == "__main__":
    sys.exit(main())
