"""What a training step costs: LEAF and the baselines as the configs build them, in one interleaved run on phantoms.

A step is that of the real engine with all its handlers: data and augmentation, forward and backward pass, optimiser.
On a CPU the time is that of the process's CPU, which other work on the machine hardly changes, in one thread unless
told otherwise; on a GPU it is wall time. Absolute times differ from machine to machine: quote the ratios.
"""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from torch import nn

from leaf_seg.data import make_phantoms
from leaf_seg.engines import BundleTrainer
from leaf_seg.runtime.errors import InputError
from measuring import machine, now, run_benchmark
from trainers import BUNDLE, abandon, build_trainer, train_steps

logger = logging.getLogger("benchmark")

LEAF, REFERENCE = "leaf", "unet"
INFERENCE, TRAINING = "--inference", "--training"
NUM_CLASSES = 3
DATA, OPTIMISER, LOSSES, REST = "data, augmentation", "optimiser, clip, EMA", "losses", "rest"
PARTS = {"image_encoder": "image encoder", "unet": "U-Net", "mask_decoder": "mask decoder"}  # of a LatentSegmenter
MASK_ENCODER, NETWORK = "mask encoder", "network"
ROWS = (DATA, MASK_ENCODER, *PARTS.values(), NETWORK, LOSSES, OPTIMISER, REST)


class Stopwatch:
    """Adds up the time of a step's parts; the time goes to the part that is named last.

    Args:
        device: on "cuda" it waits for the GPU at each change, so that the parts are told apart.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.is_on = False
        self.part, self._since = REST, 0.0

    def now(self) -> float:
        """Seconds, as :func:`measuring.now` has them."""
        return now(self.device)

    def turn_to(self, part: str) -> str:
        """Let the time from now on be that of a part; returns the part until now."""
        former = self.part
        if self.is_on:
            now = self.now()
            self.seconds[former] = self.seconds.get(former, 0.0) + now - self._since
            self.part, self._since = part, now
        return former

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the parts."""
        self.is_on, self.part, self._since = True, REST, self.now()
        yield
        self.turn_to(REST)
        self.is_on = False


@dataclass
class Candidate:
    """What is measured.

    Attributes:
        name: of the overlay, or "leaf".
        trainer: as the config builds it.
        watch: times the parts of its steps.
        seconds: of a step, one number for each round.
    """

    name: str
    trainer: BundleTrainer
    watch: Stopwatch
    seconds: list[float] = field(default_factory=list)
    peak_memory: int = 0

    def train(self, steps: int) -> float:
        """Seconds of a step, of so many."""
        start = self.watch.now()
        train_steps(self.trainer, steps)
        return (self.watch.now() - start) / steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; the exit code is 0, or 2 for bad input."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == [INFERENCE]:
        import benchmark_inference

        return benchmark_inference.main(words[1:])
    if words[:1] == [TRAINING]:
        import benchmark_training

        return benchmark_training.main(words[1:])
    return run_benchmark(_benchmark, _parser().parse_args(words), logger)


def _benchmark(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder, redirect_stderr(io.StringIO()):
        candidates = [_build(name, options, Path(folder)) for name in dict.fromkeys(options.networks)]
        _measure(candidates, options)
        logger.info("%s", report(candidates, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    baselines = ", ".join(file.stem for file in sorted((BUNDLE / "configs" / "baselines").glob("*.json")))
    parser.add_argument(INFERENCE, action="store_true", help="as the first option: of inference, with its own options")
    parser.add_argument(TRAINING, action="store_true", help="as the first option: of training at the paper's scale")
    parser.add_argument(
        "--networks", nargs="+", default=[LEAF, REFERENCE], help=f"{LEAF}, a baseline ({baselines}), or overlay files"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--image_size", type=int, default=96, help="pixels along each side")
    parser.add_argument("--batch_size", type=int, default=16, help="slices in a step")
    parser.add_argument("--precision", default="bf16", help="bf16, fp16 or fp32")
    parser.add_argument("--rounds", type=int, default=7, help="times that each network has its turn; medians of these")
    parser.add_argument("--steps", type=int, default=2, help="training steps in a turn")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of PyTorch")
    parser.add_argument(
        "--num_workers", type=int, default=0, help="processes that load data; 0: its time is part of the step"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="config keys, for all networks that have them"
    )
    return parser


def _build(name: str, options: argparse.Namespace, folder: Path) -> Candidate:
    """The trainer that the config files make, on phantoms, with hooks that time its parts."""
    files = [BUNDLE / "configs" / "train.json"]
    if name != LEAF:
        files.append(Path(name) if name.endswith(".json") else BUNDLE / "configs" / "baselines" / f"{name}.json")
        if not files[-1].exists():
            raise InputError(f"No baseline or overlay {name!r}: {files[-1]} does not exist.")
    settings = {
        "dataset_dir": str(_phantoms(folder, options)),
        "output_dir": str(folder / Path(name).stem),
        "device_name": options.device,
        "image_size": [options.image_size] * 2,
        "num_classes": NUM_CLASSES,
        **{key: getattr(options, key) for key in ("batch_size", "precision", "num_workers")},
    }
    trainer = build_trainer(files, settings, options.set)
    watch = Stopwatch(trainer.state.device)
    _time_parts(trainer, watch)
    return Candidate(Path(name).stem, trainer, watch)


def _phantoms(folder: Path, options: argparse.Namespace) -> Path:
    """A data set with some batches of training slices in it."""
    data = folder / "phantoms"
    if not data.exists():
        size = (max(options.image_size, 16),) * 2
        make_phantoms(data, num_cases=3 * options.batch_size + 4, num_classes=NUM_CLASSES, size=size, channels=3)
    return data


def _time_parts(trainer: BundleTrainer, watch: Stopwatch) -> None:
    """Name the parts of a step, as they begin and end, to a stopwatch."""
    parts = {part: getattr(trainer.network, name, None) for name, part in PARTS.items()}
    if not any(parts.values()):
        parts = {NETWORK: trainer.network}
    for part, module in (parts | {MASK_ENCODER: getattr(trainer.prepare_batch, "mask_encoder", None)}).items():
        if isinstance(module, nn.Module):
            time_module(module, part, watch)
    marks = {
        Events.GET_BATCH_STARTED: DATA,
        Events.GET_BATCH_COMPLETED: REST,
        IterationEvents.FORWARD_COMPLETED: LOSSES,
        IterationEvents.BACKWARD_COMPLETED: OPTIMISER,
        IterationEvents.MODEL_COMPLETED: REST,
    }
    for event, part in marks.items():
        trainer.add_event_handler(event, lambda _, part=part: watch.turn_to(part))


def time_module(module: nn.Module, part: str, watch: Stopwatch) -> None:
    """Time a module's forward pass, and its backward pass from the output's gradient to that of its input."""
    outer: list[str] = []

    def leave() -> None:
        if watch.part == part:  # the module before, whose output this is, may have begun
            watch.turn_to(LOSSES)

    def begin(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        outer.append(watch.turn_to(part))
        if watch.is_on and inputs[0].requires_grad:
            inputs[0].register_hook(lambda gradient: leave())

    def end(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        watch.turn_to(outer.pop())
        tensor = output if isinstance(output, torch.Tensor) else output[0]
        if watch.is_on and tensor.requires_grad:
            tensor.register_hook(lambda gradient: _ignore(watch.turn_to(part)))

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def _ignore(_: object) -> None:
    """A gradient's hook that returns something would change the gradient."""


def _measure(candidates: list[Candidate], options: argparse.Namespace) -> None:
    """Let the candidates train in turn."""
    for candidate in candidates:
        candidate.train(2)  # the first steps choose algorithms and make the optimiser's state
    for _ in range(options.rounds):
        for candidate in candidates:
            is_cuda = candidate.watch.device.type == "cuda"
            with nullcontext() if is_cuda else candidate.watch.running():
                candidate.seconds.append(candidate.train(options.steps))
            if is_cuda:  # where telling the parts apart takes time
                torch.cuda.reset_peak_memory_stats(candidate.watch.device)
                with candidate.watch.running():
                    candidate.train(options.steps)
                candidate.peak_memory = torch.cuda.max_memory_allocated(candidate.watch.device)
    for candidate in candidates:
        abandon(candidate.trainer)


def report(candidates: Sequence[Candidate], options: argparse.Namespace) -> str:
    """Two tables as text: what a step costs, and where its time goes."""
    device = candidates[0].watch.device
    reference = next((candidate for candidate in candidates if candidate.name == REFERENCE), candidates[-1])
    is_cuda = device.type == "cuda"
    head = ["network", "ms a step", f"x {reference.name}", "(range)", "parameters", "trained", "model.pt MB"]
    rows = [head + ["peak MiB"] * is_cuda]
    for candidate in candidates:
        ratios = [own / other for own, other in zip(candidate.seconds, reference.seconds, strict=True)]
        parameters = list(candidate.trainer.network.parameters())
        row = [
            candidate.name,
            f"{1000 * statistics.median(candidate.seconds):.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
            f"{sum(p.numel() for p in parameters):,}",
            f"{sum(p.numel() for p in parameters if p.requires_grad):,}",
            f"{_file_size(candidate.trainer.network) / 1e6:.1f}",
        ]
        # Other candidates' weights lie on the device, too.
        rows.append(row + [f"{candidate.peak_memory / 2**20:.0f}"] * is_cuda)
    parts = [["ms of a step", *(candidate.name for candidate in candidates)]]
    for part in ROWS:
        shares = [c.watch.seconds.get(part, 0.0) / sum(c.watch.seconds.values()) for c in candidates]
        if any(shares):
            medians = [1000 * statistics.median(candidate.seconds) for candidate in candidates]
            cells = [f"{share * ms:.1f} ({share:4.0%})" for share, ms in zip(shares, medians, strict=True)]
            parts.append([part, *cells])
    title = (
        f"{machine(device, options.threads)}; {options.image_size} px, batch {options.batch_size}, "
        f"{options.precision}, {options.num_workers} workers; medians of {options.rounds} rounds of {options.steps} "
        f"steps; PyTorch {torch.__version__}"
    )
    return "\n".join([title, "", *_aligned(rows), "", *_aligned(parts)])


def _file_size(network: nn.Module) -> int:
    """Bytes of the network's state as a file."""
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    return stream.tell()


def _aligned(rows: list[list[str]]) -> list[str]:
    """Lines of a table, its first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return ["  ".join(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
